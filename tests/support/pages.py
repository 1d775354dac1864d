"""README, CONTRIBUTING and the pages of docs/, and the commands that they show."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS, CONTRIBUTING, README = ROOT / "docs", ROOT / "CONTRIBUTING.md", ROOT / "README.md"
MADE = {"output", "_build", "generated", "gallery"}
WRITTEN = sorted(page for page in (README, CONTRIBUTING, *DOCS.rglob("*.md")) if not MADE & set(page.parts))
COMMAND = re.compile(r"^(?: {4}|)(brian2grad [\w-].*?)(?: {2,}.*)?$|`(brian2grad [a-z][^`]*)`", re.MULTILINE)


def commands_of(page):
    """Command lines of a page, placeholders included."""
    found = [line or inline for line, inline in COMMAND.findall(page.read_text())]
    return [command.replace("\n", " ") for command in found]
