"""Processes that are killed at any moment, and disks that fill up: the run goes on, bit for bit."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import fit_cases
import numpy as np
import pytest

from brian2grad.models.hdf5 import read_sealed
from brian2grad.training import EventArchive

pytestmark = pytest.mark.long
KILLS = int(os.environ.get("ATTACK_KILLS", 3))
# What trains, in small; `{events}` and `{recording}` are data.
KINDS = {
    "gamma": "train gamma --data {events} --hidden 8 --K 2 --epochs 40 --dt 10ms --batch-size 8",
    "async": "train async --data {events} --hidden 8 --epochs 25 --dt 10ms --batch-size 8",
    "exact": "train exact lif --data {events} --hidden 8 --epochs 20 --batch-size 8",
    "fit": "fit lif --data {recording} --starts 1 --generations 2 --steps 4 --threads 1",
}
KILLED_WRITING = Path(__file__).resolve().parents[1] / "support" / "killed_writing.py"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Files that are trained on."""
    rng = np.random.default_rng(0)
    samples = [(rng.integers(0, 8, 40), np.sort(rng.integers(0, 100, 40))) for _ in range(40)]
    folder = tmp_path_factory.mktemp("data")
    files = {name: folder / f"{name}.npz" for name in ("events", "recording")}
    EventArchive.from_samples(samples, np.arange(40) % 2, n_units=8, time_unit_us=1000).save(files["events"])
    cell = fit_cases.recording(duration=0.5, jitter_us=300.0)
    np.savez(
        files["recording"], dt_us=cell.dt_us, input=cell.input, input_unit=cell.input_unit, offsets=cell.offsets,
        spike_times_us=cell.spike_times_us,
    )  # fmt: skip
    return files


def command(*arguments):
    return [sys.executable, "-m", "brian2grad.training", *map(str, arguments)]


def started(kind, data, folder):
    return command(*KINDS[kind].format(**data).split(), "--seed", 1, "--out", folder)


def next_of(kind, data, folder):
    """The command that begins a run, or goes on with it."""
    if not (folder / "config.toml").exists():
        return started(kind, data, folder)
    return command(*KINDS[kind].partition(" lif" if "lif" in KINDS[kind] else " --")[0].split(), "--resume", folder)


@pytest.fixture(scope="module", params=KINDS)
def whole(request, data, tmp_path_factory):
    """A run that nothing disturbed: kind, folder, and seconds that it took with an empty cache and with a full one."""
    place, took = tmp_path_factory.mktemp("whole"), []
    environment = os.environ | {"BRIAN2GRAD_CACHE": str(place / "cache")}
    for name in ("first", request.param):
        began = time.monotonic()
        subprocess.run(started(request.param, data, place / name), check=True, capture_output=True, env=environment)
        took.append(time.monotonic() - began)
    assert_same(place / "first", place / request.param)
    return request.param, place / request.param, took


def assert_same(folder, whole):
    for name in [name for name in ("weights.h5", "checkpoint.h5") if (whole / name).exists()]:
        attributes, found = read_sealed(folder / name)
        expected_attributes, expected = read_sealed(whole / name)
        assert attributes == expected_attributes
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            np.testing.assert_array_equal(found[key], value)
    records = [
        [
            {k: v for k, v in json.loads(line).items() if "seconds" not in k}
            for line in (f / "metrics.jsonl").read_text().splitlines()
        ]
        for f in (folder, whole)
    ]
    assert records[0] == records[1]
    assert not list(folder.glob(".*"))


def killed(arguments, after, environment):
    """Run a command and kill it after some seconds; whether it was killed."""
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment) as process:
        try:
            process.wait(after)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            return True
    return False


def test_a_run_killed_again_and_again_gives_the_same_bits(whole, data, tmp_path):
    """The cache is empty for the first kills, so that they hit the compiler."""
    kind, folder, (cold, warm) = whole
    rng, place, kills, begun = np.random.default_rng(2), tmp_path / "run", 0, 0
    full = os.environ | {"BRIAN2GRAD_CACHE": str(folder.parent / "cache")}
    while kills < KILLS:
        begun += 1
        empty = os.environ | {"BRIAN2GRAD_CACHE": str(tmp_path / f"cache{begun}")}
        took, environment = (cold, empty) if kills <= KILLS // 4 else (warm, full)
        if not killed(next_of(kind, data, place), took * rng.uniform(0.2, 1.2), environment):
            assert_same(place, folder)
            shutil.rmtree(place)  # it ended: the next one begins anew
        else:
            kills += 1
    subprocess.run(next_of(kind, data, place), check=True, capture_output=True, env=empty)
    assert_same(place, folder)


def test_a_run_killed_while_it_writes_gives_the_same_bits(whole, data, tmp_path):
    """Each process ends within the few files that belong to the end of an epoch, or before one takes its name."""
    kind, folder, _ = whole
    rng, place, kills = np.random.default_rng(3), tmp_path / "run", 0
    environment = os.environ | {"BRIAN2GRAD_CACHE": str(folder.parent / "cache")}
    while kills < KILLS:
        words = [str(KILLED_WRITING), str(rng.integers(1, 24)), *next_of(kind, data, place)[3:]]
        done = subprocess.run([sys.executable, *words], capture_output=True, env=environment)
        if done.returncode == 0:
            assert_same(place, folder)
            shutil.rmtree(place)
        else:
            assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
            kills += 1
    subprocess.run(next_of(kind, data, place), check=True, capture_output=True, env=environment)
    assert_same(place, folder)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of one megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only the superuser mounts a small file system")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill(place, left):
    """Take all but `left` bytes of a file system."""
    free = os.statvfs(place)
    (place / "filler").write_bytes(bytes(max(0, free.f_bavail * free.f_bsize - left)))


@pytest.mark.parametrize("left", [0, 8192, 20480, 36864])
def test_a_full_disk_is_one_line_and_the_run_goes_on_when_there_is_room(whole, data, small_disk, left):
    kind, folder, _ = whole
    place = small_disk / "run"
    fill(small_disk, left)
    arguments = started(kind, data, place)
    done = subprocess.run([*arguments, "--quiet"], capture_output=True, text=True)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "No space left on device" in done.stderr
    (small_disk / "filler").unlink()
    subprocess.run(next_of(kind, data, place), check=True, capture_output=True)
    assert_same(place, folder)


def test_a_full_cache_is_one_line(data, small_disk, tmp_path):
    (small_disk / "cache").mkdir(mode=0o700)
    fill(small_disk, 4096)
    environment = os.environ | {"BRIAN2GRAD_CACHE": str(small_disk / "cache")}
    arguments = started("gamma", data, tmp_path / "run")
    done = subprocess.run([*arguments, "--quiet"], capture_output=True, text=True, env=environment)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "BRIAN2GRAD_CACHE" in done.stderr
    assert not (tmp_path / "run").exists()
