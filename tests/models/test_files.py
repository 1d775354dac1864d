"""Files that appear whole or not at all."""

import errno
import os

import pytest

from brian2grad.models.files import atomic


def test_a_file_takes_its_name_when_it_is_complete(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with atomic(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["file"]


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(TypeError), atomic(path) as temporary, open(temporary, "w") as file:
        file.write(0)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_only_regular_files_are_replaced_and_links_stay_links(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "."):
        with pytest.raises(OSError, match="no regular file"), atomic(tmp_path / name):
            pass
    (tmp_path / "link").symlink_to("target")
    with atomic(tmp_path / "link") as temporary:
        temporary.write_text("content")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "content"


def test_a_full_disk_names_the_file(tmp_path):
    """The system names no file where a write fails; whoever reads the message wants it."""
    with pytest.raises(OSError, match="No space left") as caught, atomic(tmp_path / "picture.png"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(tmp_path / "picture.png")
