"""`make test-stable` goes on after the runs that it has: green ones are kept, of the same commit and tests alone."""

import importlib.util
import itertools
from pathlib import Path

import pytest

SETTINGS = list(itertools.product((1, 2), (0, 4), ("1", "2", "7", "unset")))


@pytest.fixture
def stable(monkeypatch, tmp_path):
    """The script, with runs that are only noted: green, but for those of `stable.red`."""
    spec = importlib.util.spec_from_file_location("stable", Path(__file__).parents[1] / ".ci" / "stable.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.ran, module.red = [], set()

    def run(cores, busy, threads, arguments):
        module.ran.append((cores, busy, threads))
        return (cores, busy, threads) not in module.red, 1.0, "7", "what pytest said"

    monkeypatch.setattr(module, "run", run)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "KEPT", tmp_path / "build" / "stable.csv")
    monkeypatch.setattr(module, "state", lambda: "abc")
    return module


def call(stable, monkeypatch, *arguments):
    """Settings that a call of the script runs."""
    stable.ran.clear()
    monkeypatch.setattr("sys.argv", ["stable.py", *arguments])
    stable.main()
    return list(stable.ran)


def test_every_setting_is_run_and_kept(stable, monkeypatch):
    assert call(stable, monkeypatch, "--times", "2") == 2 * SETTINGS
    assert call(stable, monkeypatch, "--times", "2") == []
    assert call(stable, monkeypatch, "--times", "3") == SETTINGS


def test_a_failure_stops_and_the_next_call_goes_on_with_it(stable, monkeypatch, capsys):
    stable.red.add((1, 4, "7"))
    with pytest.raises(SystemExit, match="what pytest said"):
        call(stable, monkeypatch, "--times", "1")
    stable.red.clear()
    assert call(stable, monkeypatch, "--times", "1") == SETTINGS[6:]
    assert "6 green runs of abc are kept in build/stable.csv" in capsys.readouterr().out


@pytest.mark.parametrize("other", [{"state": "abd"}, {"tests": ["tests/models"]}, {"state": None}])
def test_runs_of_another_kind_do_not_count(stable, monkeypatch, other):
    call(stable, monkeypatch, "--times", "1")
    if "state" in other:
        monkeypatch.setattr(stable, "state", lambda: other["state"])
    assert call(stable, monkeypatch, "--times", "1", *other.get("tests", [])) == SETTINGS


def test_runs_with_changes_and_short_runs_are_not_kept(stable, monkeypatch):
    assert len(call(stable, monkeypatch, "--short")) == 20
    monkeypatch.setattr(stable, "state", lambda: None)
    call(stable, monkeypatch, "--times", "1")
    assert not stable.KEPT.exists()


def test_a_run_during_which_the_project_changed_is_not_kept(stable, monkeypatch):
    told = itertools.chain(["abc", "abc"], itertools.repeat("abd"))
    monkeypatch.setattr(stable, "state", lambda: next(told))
    call(stable, monkeypatch, "--times", "1")
    monkeypatch.setattr(stable, "state", lambda: "abc")
    assert call(stable, monkeypatch, "--times", "1") == SETTINGS[1:]
