"""What every command takes, and that a run can be asked from any folder."""

import importlib.metadata
import json

import pytest
import typer
from commands import call

from brian2grad.training.cli.main import app


def every_command(group=None, path=()):
    """Paths of all commands."""
    group = typer.main.get_command(app) if group is None else group
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from every_command(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(every_command())


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_them(path, capsys):
    known = {name for parameter in COMMANDS[path].params for name in parameter.opts}
    assert {"--quiet", "--verbose", "--version"} <= known
    code, out, err = call(capsys, *path, "--version")
    assert (code, out, err) == (0, f"brian2grad {importlib.metadata.version('brian2grad')}\n", "")


def test_there_are_many():
    assert len(COMMANDS) >= 11


def test_verbose_says_where_an_error_came_from(capsys, tmp_path):
    for flag, shown in (
        ("--quiet", False),
        ("--verbose", True),
        ("--quiet", False),
    ):  # nothing is left of the call before
        code, _, err = call(capsys, "evaluate", tmp_path / "nothing", flag)
        assert code == 2
        assert ("Traceback" in err) == shown
        assert err.strip().splitlines()[-1].startswith("error: ")


def test_a_run_finds_its_data_from_anywhere(archive, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(archive.parent)
    options = f"train gamma --data {archive.name} --hidden 4 --epochs 1 --quiet --out {tmp_path}/run"
    assert call(capsys, *options.split()) == (0, "", "")
    monkeypatch.chdir(tmp_path)
    code, out, err = call(capsys, "evaluate", "run", "--json")
    assert code == 0, err
    report = json.loads(out)
    assert report["data"] == str(archive)
    assert report["seen_in_training"]


def test_a_held_out_part_is_found_again_and_is_not_what_was_trained_on(archive, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(archive.parent)
    options = f"train gamma --data {archive.name} --validation 0.25 --hidden 4 --epochs 1 --quiet --out {tmp_path}/run"
    assert call(capsys, *options.split())[0] == 0
    monkeypatch.chdir(tmp_path)
    report = json.loads(call(capsys, "evaluate", "run", "--json")[1])
    assert report["n_samples"] == 10
    assert not report["seen_in_training"]
