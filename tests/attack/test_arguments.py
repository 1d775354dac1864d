"""Command lines of any kind: each ends with success or with one line, and nothing starts before all is checked."""

import contextlib
import io

import pytest
from attack import seconds
from attack_targets import small_run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brian2grad.training import TrainingError
from brian2grad.training.cli.families import FAMILIES
from brian2grad.training.cli.main import main

pytestmark = pytest.mark.long
WORDS = (
    r"""
0 1 -1 2 1e-12 1e400 nan inf -inf x all 1ms -3ms 1e-12us 100s 8,8 , 4,,4 random momentum mixed timed fifo filter
online adam 1000000 65536,65536 /dev/null /dev/full / . .. digits fsdd a.toml first-output
drained counts latency true --help -- [red] %s {}
""".split()
    + ["", " ", "\u00b2", "\u0663", "\ud83d", "9" * 30, "a" * 5000, "x\ty"]
)
COMMON = "scheduler forward-group noise seed threads limit dt data data-root".split()
TRAIN = """
validation held-out-speaker hidden tau loss optimiser learning-rate activity epochs batch-size recipe out resume
zero-time
"""
OPTIONS = {
    "train gamma": [*COMMON, *TRAIN.split(), "K", "theta", "memory", "buckets", "adaptation", "train-tau", "rule"],
    "train async": [*COMMON, *TRAIN.split(), "threshold", "theta", "refractory-dropout"],
    "train exact lif": [
        *"data data-root limit duration hidden loss seed threads epochs batch-size recipe resume zero-time".split()
    ],
    "fit lif": "data data-root until starts generations steps seed threads out resume".split(),
    "report": ["data", "data-root", "limit", "threads", "out"],
    "export": ["format", "out"],
    "evaluate": [*COMMON, "stop", "engine", "device", "json", "predictions"],
    "simulate": ["data", "data-root", "sample", "dt", "scheduler", "forward-group", "stop", "device", "plot"],
    "check": ["tolerance", "limit"],
}
VALUES = st.one_of(st.sampled_from(WORDS), st.text(max_size=12), st.integers().map(str), st.floats().map(str))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return small_run(tmp_path_factory.mktemp("runs") / "run").folder


@st.composite
def lines(draw):
    """A command and some of its options, each with or without a value."""
    command = draw(st.sampled_from(sorted(OPTIONS)))
    given = []
    for name in draw(st.lists(st.sampled_from(OPTIONS[command]), max_size=4)):
        given += [f"--{name}"] + [draw(VALUES)] * draw(st.integers(0, 1))
    return command, given


def ended(arguments):
    """Exit code and error text; whatever is no exit is a fault."""
    errors = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
        try:
            main(arguments)
        except SystemExit as status:
            return status.code, errors.getvalue()
    return None, ""


def test_any_command_line_ends_in_success_or_one_line(run, tmp_path, monkeypatch):
    def stop(*arguments, **options):
        raise TrainingError("all was accepted")

    monkeypatch.chdir(tmp_path)
    for family in FAMILIES.values():
        monkeypatch.setattr(family, "task_of", stop)
        monkeypatch.setattr(family, "load_tasks", stop)

    @settings(
        max_examples=int(20 * seconds()), deadline=10000, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(lines())
    def attacked(line):
        command, given = line
        place = (
            ["model.py:problem"] if command == "check" else [] if command.startswith(("train", "fit")) else [str(run)]
        )
        code, text = ended([*command.split(), *place, *given])
        assert code in (0, 2)
        if code == 2:
            assert len(text.strip().splitlines()) == 1, text
            assert text.startswith("error: ")

    attacked()
    assert list(tmp_path.iterdir()) == []
