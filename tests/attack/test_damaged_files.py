"""Files of strangers: whatever they hold, each reader ends soon, in bounded memory, with numbers or with one line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from attack import seconds
from attack_runs import RUN_TARGETS
from attack_targets import TARGETS

SCRIPT = Path(__file__).resolve().parents[1] / "support" / "attack.py"
SEED = int(os.environ.get("ATTACK_SEED", 0))


@pytest.mark.long
@pytest.mark.parametrize("target", [*TARGETS, *RUN_TARGETS])
def test_reader_under_attack(target, tmp_path):
    limit = seconds()
    command = [sys.executable, str(SCRIPT), target, str(limit), str(SEED), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit + 120)
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout)
    assert not report["found"], "\n\n".join(f"{place}:\n{wrong}" for place, wrong in report["found"])
    assert report["cases"] > 0
