"""The cache: nobody else's code is loaded from it, and what is damaged in it is built again."""

import ctypes
import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from brian2grad.models import EngineError
from brian2grad.models import cache as cache_module
from brian2grad.models.cache import cache_folder, in_use, lock, tidy, work_folder
from brian2grad.models.native import build
from brian2grad.models.native.build import compiled

SOURCE = 'extern "C" int answer() { return 42; }\n'


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A home and a temporary folder of the test's own."""
    for name in ("home", "tmp"):
        (tmp_path / name).mkdir(mode=0o700)
    monkeypatch.delenv("BRIAN2GRAD_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    cache_module._own_folder.cache_clear()
    yield tmp_path
    cache_module._own_folder.cache_clear()


def mode(folder):
    return stat.S_IMODE(os.stat(folder).st_mode)


def no_home(place):
    """Make the home unusable; returns the fallback."""
    shutil.rmtree(place / "home")
    (place / "home").write_text("in the way")
    return place / "tmp" / f"brian2grad-{os.getuid()}"


def test_folders_are_made_for_this_user_alone(place):
    old = os.umask(0)
    try:
        folder = cache_folder("engine")
    finally:
        os.umask(old)
    assert folder == place / "home" / ".cache" / "brian2grad" / "engine"
    assert mode(folder) == mode(folder.parent) == 0o700


def test_fallback_is_private_and_kept(place):
    fallback = no_home(place)
    assert cache_folder("engine") == cache_folder("engine") == fallback / "engine"
    assert mode(fallback) == 0o700


def foreign(path):
    os.chown(path, 12345, 12345)


@pytest.mark.parametrize(
    "taken",
    [
        lambda path: path.mkdir(mode=0o777) or path.chmod(0o777),
        lambda path: path.mkdir() or path.chmod(0o750),
        lambda path: path.symlink_to(path.parent / "elsewhere"),
        lambda path: path.write_text("a file"),
        lambda path: path.mkdir(mode=0o700) or (path / "engine").mkdir() or (path / "engine").chmod(0o777),
        lambda path: path.mkdir(mode=0o700) or (path / "engine").symlink_to(path.parent / "elsewhere"),
        pytest.param(
            lambda path: path.mkdir(mode=0o700) or foreign(path),
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="only the superuser gives folders away"),
        ),
    ],
    ids=["writable", "readable", "link", "file", "writable below", "link below", "another user's"],
)
def test_a_fallback_that_others_could_fill_is_left_alone(place, taken):
    fallback = no_home(place)
    (place / "tmp" / "elsewhere").mkdir(mode=0o700)
    taken(fallback)
    folder = cache_folder("engine")
    assert fallback not in folder.parents
    assert folder.parent.parent == place / "tmp"
    assert folder == cache_folder("engine")  # one for the whole process
    assert mode(folder) == mode(folder.parent) == 0o700
    assert not list((place / "tmp" / "elsewhere").iterdir())


@pytest.mark.parametrize("name", ["home", "home/.cache", "home/.cache/brian2grad"])
def test_a_home_that_others_write_to_is_not_used(place, name):
    (place / "home" / ".cache" / "brian2grad").mkdir(parents=True)
    (place / name).chmod(0o777)
    assert cache_folder("engine") == place / "tmp" / f"brian2grad-{os.getuid()}" / "engine"


def test_a_private_folder_of_one_process_is_gone_after_it(place):
    fallback = no_home(place)
    fallback.mkdir()
    fallback.chmod(0o777)
    code = "from brian2grad.models.cache import cache_folder; print(cache_folder('engine'))"
    environment = os.environ | {"TMPDIR": str(place / "tmp")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert Path(done.stdout.strip()).parent.parent == place / "tmp"
    assert os.listdir(place / "tmp") == [fallback.name]


CORE = 'extern "C" int core() { return 40; }'


def answer(path):
    return ctypes.CDLL(str(path)).answer()


@pytest.fixture
def library(place):
    return compiled(SOURCE)


def test_a_library_is_compiled_once(library, monkeypatch):
    monkeypatch.setattr(build, "_build", None)
    assert answer(compiled(SOURCE)) == 42
    assert os.listdir(library.parent) == [library.name]  # nothing temporary stays


def other(path):
    return compiled(SOURCE.replace("42", "41")).read_bytes()


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("no library"),
        lambda path: path.write_bytes(path.read_bytes().replace(b"answer", b"anzwer")),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes() + b"\0"),
        lambda path: path.write_bytes(other(path)),
        lambda path: path.unlink(),
    ],
    ids=["cut", "empty", "text", "bytes", "shorter", "longer", "another library", "gone"],
)
def test_a_damaged_library_is_built_again(library, damage):
    damage(library)
    assert answer(compiled(SOURCE)) == 42
    assert build.intact(library, library.stem)


def with_core(number):
    return compiled(f'extern "C" int core(); extern "C" int answer() {{ return core() + {number}; }}', core=CORE)


def test_what_libraries_share_is_compiled_once(place, monkeypatch):
    made, build_one = [], build._build
    monkeypatch.setattr(build, "_build", lambda *arguments: made.append(arguments) or build_one(*arguments))
    first, second = with_core(1), with_core(2)
    assert (answer(first), answer(second)) == (41, 42)
    assert [source for source, *_ in made].count(CORE) == 1
    assert len(made) == 3
    (core,) = first.parent.glob("*.o")
    core.unlink()
    assert with_core(1) == first
    assert len(made) == 3, "a library that is there needs no core"


@pytest.mark.parametrize("damage", [lambda content: content[:100], lambda content: content.replace(b"core", b"cord")])
def test_a_damaged_core_is_built_again(place, damage):
    (core,) = with_core(1).parent.glob("*.o")
    core.write_bytes(damage(core.read_bytes()))
    assert answer(with_core(2)) == 42
    assert build.intact(core, core.stem)


def test_another_core_makes_another_library(place):
    source = 'extern "C" int core(); extern "C" int answer() { return core(); }'
    cores = (f'extern "C" int core() {{ return {number}; }}' for number in (3, 4))
    assert [answer(compiled(source, core=core)) for core in cores] == [3, 4]


def test_flags_of_a_source_are_not_those_of_its_core(place):
    source = 'extern "C" int core(); extern "C" int answer() { return core() + NUMBER; }'
    core = """
#ifdef NUMBER
#error "meant for the other source"
#endif
extern "C" int core() { return 40; }"""
    found = [compiled(source, core=core, own_flags=(f"-DNUMBER={number}",)) for number in (2, 3)]
    assert [answer(path) for path in found] == [42, 43]


def test_the_level_of_optimisation_is_part_of_what_is_compiled(place, monkeypatch):
    source = """extern "C" int answer() {
#ifdef __OPTIMIZE__
return 42;
#else
return 41;
#endif
}"""
    for level, number in (("0", 41), ("g", 42), ("1", 42), (None, 42)):
        monkeypatch.delenv("BRIAN2GRAD_OPTIMISE", raising=False)
        if level:
            monkeypatch.setenv("BRIAN2GRAD_OPTIMISE", level)
        assert answer(compiled(source)) == number
    assert len(list(compiled(source).parent.glob("*.so"))) == 4
    monkeypatch.setenv("BRIAN2GRAD_OPTIMISE", "fast")
    with pytest.raises(EngineError, match="BRIAN2GRAD_OPTIMISE=fast: give a level, 0 to 3 or g"):
        compiled(source)


def test_a_full_disk_is_one_line(place, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(build, "write_file", full)
    with pytest.raises(
        EngineError, match=r"cannot be kept in .*\.so \(No space left on device\); free space"
    ) as caught:
        compiled(SOURCE)
    assert "\n" not in str(caught.value)


def test_something_else_in_the_place_of_a_library_is_one_line(library):
    library.unlink()
    library.mkdir()
    with pytest.raises(EngineError, match="cannot be kept in .*BRIAN2GRAD_CACHE"):
        compiled(SOURCE)


def folders(place, n):
    """Folders of a cache, the first used first."""
    found = [cache_folder("things") / f"{k}" for k in range(n)]
    for k, folder in enumerate(found):
        folder.mkdir()
        os.utime(folder, (k, k))
    return found


def test_folders_used_last_and_those_in_use_are_kept(place):
    first, second, third, last = folders(place, 4)
    with in_use(first), in_use(third):
        tidy(first.parent, most=1)
    assert {path.name for path in first.parent.iterdir() if path.is_dir()} == {"0", "2", "3"}
    tidy(first.parent, most=1)
    assert [path.name for path in first.parent.iterdir()] == [last.name]  # and no file of a lock


def test_work_of_killed_processes_is_removed_and_no_other(place):
    code = """
import os, signal, sys
from pathlib import Path
from brian2grad.models.cache import work_folder
with work_folder(Path(sys.argv[1])) as place:
    os.kill(os.getpid(), signal.SIGKILL)
"""
    folder = cache_folder("things")
    subprocess.run([sys.executable, "-c", code, str(folder)])
    (left,) = folder.iterdir()
    with work_folder(folder) as mine:
        assert set(folder.iterdir()) == {left, mine}
        tidy(folder)
        assert set(folder.iterdir()) == {mine}
    assert not list(folder.iterdir())


def test_a_lock_of_a_removed_file_is_none(place):
    """Who waits for the lock of a file that its holder removes gets that of the next file, which others see."""
    path = cache_folder("things") / "thing.lock"
    held = lock(path)
    waiting = threading.Thread(target=lambda: found.append(lock(path, wait=True)))
    found = []
    waiting.start()
    time.sleep(0.1)
    path.unlink()
    os.close(held)
    waiting.join()
    assert lock(path) is None
    os.close(found[0])
