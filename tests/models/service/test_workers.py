"""Processes of a served program: answers in order, and a sample that kills its process is one failure among answers."""

import os
import stat
import sys
import tempfile

import pytest

from brian2grad.models import EngineError
from brian2grad.models.service.program import Program
from brian2grad.models.service.workers import Failed, SamplesFailed, serve, warn_failed

# The program of the tests: adds its parameter to a sample; 13 ends it, 14 is refused. It says how it is asked.
MAIN = """#!{python}
import os, struct, sys
read, offset = os.fdopen(0, "rb"), 0.0
def take(n):
    text = read.read(n)
    if len(text) < n:
        os._exit(0)
    return text
def answer(status, parts):
    head = struct.pack("<qdq", status, 0.25, len(parts)) + struct.pack(f"<{{len(parts)}}q", *map(len, parts))
    os.write(1, head + b"".join(parts))
while True:
    kind, n = struct.unpack("<2q", take(16))
    places = struct.unpack(f"<{{2*n}}q", take(16*n))
    arrays = {{places[2*k]: take(places[2*k + 1]) for k in range(n)}}
    if kind == 0:
        offset = struct.unpack("<d", arrays[0])[0]
        answer(0, [])
        continue
    value = struct.unpack("<d", arrays[1])[0]
    if value == 13:
        sys.stderr.write("out of luck")
        sys.stderr.flush()
        os._exit(3)
    if value == 14:
        answer(1, [b"no fourteen"])
        continue
    answer(0, [struct.pack("<4d", value + offset, 1, 2, 3), struct.pack("<q", os.getpid())])
"""


@pytest.fixture
def program(tmp_path):
    main = tmp_path / "main"
    main.write_text(MAIN.format(python=sys.executable))
    main.chmod(main.stat().st_mode | stat.S_IXUSR)
    kinds = {"offset": "float64", "x": "float64"}
    return Program(tmp_path, {"offset": 0, "x": 1}, kinds, {"y": ("float64", 2), "pid": ("int64", 0)})


def ask(program, values, **options):
    return serve(program, {"offset": 0.5}, [{"x": [float(v)]} for v in values], **options)


@pytest.mark.parametrize("processes", [1, 3])
def test_answers_come_in_the_order_of_the_samples(program, processes):
    done = []
    answers = ask(program, range(12), processes=processes, progress=done.append)
    assert [a["y"][0, 0] for a in answers.samples] == [k + 0.5 for k in range(12)]
    assert answers.samples[0]["y"].shape == (2, 2)
    assert sorted(done) == list(range(1, 13))
    assert answers.seconds == pytest.approx(12 * 0.25)
    pids = {int(a["pid"][0]) for a in answers.samples}
    assert 1 <= len(pids) <= processes
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_sample_that_ends_its_process_is_reported_and_the_others_go_on(program):
    values = [0, 13, 1, 14, 2, 13, 3]
    answers = ask(program, values, processes=2).samples
    failed = {values[k]: a.reason for k, a in enumerate(answers) if isinstance(a, Failed)}
    assert failed == {13: "The C++ program ended with status 3: out of luck.", 14: "no fourteen"}
    # A process that is started anew is told its parameters again.
    assert [a["y"][0, 0] for a in answers if not isinstance(a, Failed)] == [0.5, 1.5, 2.5, 3.5]


def test_input_that_cannot_be_made_is_a_failure_of_its_sample(program):
    def broken():
        raise ValueError("no such event")

    answers = serve(program, {"offset": 0.0}, [broken, {"x": [1.0]}], processes=1).samples
    assert answers[0] == Failed("no such event")
    assert answers[1]["y"][0, 0] == 1


def test_failures_are_a_warning_and_an_error_if_there_is_nothing_else():
    warn_failed({}, 3)
    with pytest.warns(SamplesFailed, match="1 of 3 samples failed, sample 2: why"):
        warn_failed({2: "why"}, 3)
    with pytest.raises(EngineError, match="No sample could be run; of the first: why"):
        warn_failed({0: "why"}, 1)


def test_a_program_that_does_not_start_is_one_error(program, monkeypatch):
    opened, real = [], tempfile.TemporaryFile
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: opened.append(real()) or opened[-1])
    (program.folder / "main").unlink()
    with pytest.raises(EngineError, match="cannot be started"):
        ask(program, [1])
    assert [file.closed for file in opened] == [True]


def test_progress_that_fails_ends_all_processes(program):
    def interrupted(done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask(program, range(50), processes=2, progress=interrupted)
