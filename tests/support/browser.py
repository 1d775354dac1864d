"""Chromium without a window, for pages that a test opens; absent on most machines, and then its tests are skipped."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)")
OFFLINE = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
OFFLINE += " --disable-component-update --disable-sync --enable-logging=stderr --virtual-time-budget=3000"


def ask(page: Path, script: str, folder: Path, width: int = 1500) -> tuple[object, list[str]]:
    """Open a page without a network and evaluate a script in it, once it has loaded.

    Returns
    -------
    (object, list of str)
        What the script returns, by way of JSON, and what was written to the console.
    """
    asking = f'<script>addEventListener("load", () => {{ const found = (() => {{ {script} }})();'
    asking += ' const e = document.createElement("output"); e.id = "asked"; e.textContent = JSON.stringify(found);'
    asking += " document.body.append(e); });</script>"
    copy = folder / "asked.html"
    copy.write_text(page.read_text().replace("</body>", asking + "</body>"))
    command = [CHROMIUM, *OFFLINE.split(), f"--user-data-dir={folder / 'profile'}", f"--window-size={width},900"]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND", "--dump-dom", copy.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    answer = re.search(r'<output id="asked">(.*?)</output>', done.stdout, re.DOTALL)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(html.unescape(answer[1])), console
