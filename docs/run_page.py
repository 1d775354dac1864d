"""Run the code of a page: the tests compare what it prints, the site shows what it draws.

``python docs/run_page.py`` draws the pictures of all tutorials; a page that has not changed is not run again.
"""

import contextlib
import hashlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BLOCK = re.compile(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", re.DOTALL)
PICTURE = re.compile(r"!\[[^\]]*\]\(output/([\w-]+\.png)\)")


def run_page(path, folder) -> list[tuple[str, str]]:
    """Run the blocks of a page one after the other in a folder.

    Returns
    -------
    list of (str, str)
        What every block printed, and what the page says that it prints.
    """
    names, results, back = {"__name__": Path(path).stem}, [], Path.cwd()
    os.chdir(folder)
    try:
        for code, expected in BLOCK.findall(Path(path).read_text()):
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(code, str(path), "exec"), names)
            results.append((printed.getvalue(), expected))
    finally:
        os.chdir(back)
    return results


def pictures_of(path) -> list[str]:
    """Names of the pictures that a page shows and draws."""
    return PICTURE.findall(Path(path).read_text())


def draw(path) -> bool:
    """Draw the pictures of a page into ``output`` beside it, if it has changed; say whether it had."""
    text = Path(path).read_bytes()
    folder = Path(path).parent / "output"
    mark = folder / f"{Path(path).stem}.sha256"
    digest = hashlib.sha256(text).hexdigest()
    if mark.is_file() and mark.read_text() == digest and all((folder / name).is_file() for name in pictures_of(path)):
        return False
    folder.mkdir(exist_ok=True)
    # A process of its own: no page sees what another has set in Brian 2.
    subprocess.run(
        [sys.executable, __file__, str(path), str(folder)], check=True, env={**os.environ, "MPLBACKEND": "Agg"}
    )
    mark.write_text(digest)
    return True


if __name__ == "__main__":
    if len(sys.argv) == 3:
        run_page(*map(os.path.abspath, sys.argv[1:]))
    else:
        for page in sorted(HERE.rglob("*.md")):
            if pictures_of(page) and draw(page):
                sys.stdout.write(f"drew {', '.join(pictures_of(page))}\n")
