"""C++ standalone projects in the cache: found built, and built again where they are damaged."""

import os
import shutil
import subprocess
import sys

import brian2
import numpy as np
import pytest
from brian2 import NeuronGroup, StateMonitor, ms

from brian2grad.models import EngineError
from brian2grad.models.devices import StandaloneProject, exact_arithmetic

pytestmark = [pytest.mark.standalone, pytest.mark.long]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BRIAN2GRAD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "standalone"


def decay():
    """Run a small project; returns its folder and its result."""
    with StandaloneProject("decay") as project:
        group = NeuronGroup(2, "dv/dt = -v/(10*ms) : 1", method="exact", name="decaying")
        group.v = [1, 2]
        monitor = StateMonitor(group, "v", record=True, name="voltage")
        brian2.Network(group, monitor, name="net").run(1 * ms)
        project.build()
        project.run()
        return project.directory, np.array(monitor.v)


def expected():
    return np.outer([1, 2], np.exp(-np.arange(10) / 100))


def test_a_whole_project_is_kept(cache, monkeypatch):
    folder, first = decay()
    assert folder.parent == cache
    np.testing.assert_allclose(first, expected())
    monkeypatch.setattr("brian2grad.models.devices._remove", None)
    np.testing.assert_array_equal(decay()[1], first)


def cut(folder):
    content = (folder / "main").read_bytes()
    (folder / "main").write_bytes(content[: len(content) // 2])


def empty_object(folder):
    next(folder.rglob("*.o")).write_bytes(b"")


def no_manifest(folder):
    (folder / "manifest.json").unlink()
    cut(folder)  # as by a builder that was killed


def a_file(folder):
    shutil.rmtree(folder)
    folder.write_text("in the way")


@pytest.mark.parametrize("damage", [cut, empty_object, no_manifest, a_file], ids=lambda d: d.__name__)
def test_a_damaged_project_is_built_again(cache, damage):
    folder, _ = decay()
    damage(folder)
    folder, result = decay()
    np.testing.assert_allclose(result, expected())


def test_a_project_in_use_is_left_alone_and_a_temporary_one_goes_away(cache):
    folder, first = decay()
    built = (folder / "main").stat().st_mtime_ns
    with StandaloneProject("decay"):
        other, second = decay()
    assert other != folder
    assert (folder / "main").stat().st_mtime_ns == built
    np.testing.assert_array_equal(second, first)
    assert not list(cache.glob("work-*"))


def test_what_a_killed_process_left_is_removed(cache):
    code = """
import os, signal
from brian2grad.models.devices import StandaloneProject, exact_arithmetic
first, second = StandaloneProject("a"), StandaloneProject("a")
print(second.directory, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    left = done.stdout.strip()
    assert os.path.isdir(left)
    with StandaloneProject("b"):
        assert not os.path.exists(left)


def test_a_project_that_cannot_be_built_is_one_line(cache, monkeypatch):
    monkeypatch.setenv("CXX", "/bin/false")
    monkeypatch.setattr("brian2.device.build", lambda **options: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(EngineError, match=r"The C\+\+ project in .* cannot be built .*No space left"):
        decay()


@pytest.mark.parametrize(("own", "inside"), [(["-j"], [f"-j{len(os.sched_getaffinity(0))}"]), (["-j3"], ["-j3"])])
def test_a_project_is_compiled_by_a_job_a_core_unless_the_user_says_how_many(own, inside):
    """Brian 2's bare `-j` starts every compilation of a project at once."""
    name = "devices.cpp_standalone.extra_make_args_unix"
    before = brian2.prefs[name]
    brian2.prefs[name] = own
    try:
        with exact_arithmetic():
            assert brian2.prefs[name] == inside
        assert brian2.prefs[name] == own
    finally:
        brian2.prefs[name] = before
