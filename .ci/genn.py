"""Brian2GeNN in an environment of its own, made from environment-genn.yml, and the tests marked `genn` in it.

GENN_PATH=/folder/of/genn-4.9.0 make genn
"""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / ".venv-genn"
NOT_FROM_PIP = {"python", "pip", "cxx-compiler", "make"}


def requirements() -> list[str]:
    """What the environment file asks for, in pip's words."""
    found = []
    _, _, dependencies = (ROOT / "environment-genn.yml").read_text().partition("dependencies:")
    for line in dependencies.splitlines():
        entry = re.fullmatch(r"\s+- ([a-z0-9-]+)((?:[=<>].*)?)", line)
        if entry and entry[1] not in NOT_FROM_PIP:
            name, version = entry[1].removesuffix("-base"), entry[2]
            found.append(name + (f"=={version[1:]}.*" if re.match("=[^=]", version) else version))
    return found


def main() -> int:
    """Check GeNN, make the environment, run the tests."""
    path = os.environ.get("GENN_PATH")
    if not path or not (Path(path) / "bin" / "genn-buildmodel.sh").exists():
        print(
            f"GENN_PATH is {path or 'not set'}: let it name the folder of GeNN 4, the one with bin/genn-buildmodel.sh"
        )
        return 2
    python = PLACE / "bin" / "python"
    if not (PLACE / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", PLACE], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *requirements()], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", "-e", ROOT], check=True)
        (PLACE / "installed").touch()
    return subprocess.run([python, "-m", "pytest", "-m", "genn", *sys.argv[1:]], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
