"""The one atomic write."""

import os
import stat
from pathlib import Path

import pytest

from kexue_keras import files
from kexue_keras.files import replacing, write_text

pytestmark = pytest.mark.once


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_and_its_directory_made(tmp_path):
    path = tmp_path / "new" / "a.weights.h5"
    for text in ("old", "new"):
        with replacing(path) as temporary:
            assert temporary.name.endswith(".weights.h5") and temporary.parent == path.parent
            temporary.write_text(text)
            assert not path.exists() or path.read_text() == "old"
        assert path.read_text() == text
    assert names(path.parent) == ["a.weights.h5"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "notes.txt"
    write_text(path, "old")
    with pytest.raises(error), replacing(path) as temporary:
        temporary.write_text("half of it")
        raise error
    assert path.read_text() == "old" and names(tmp_path) == ["notes.txt"]


def test_a_full_disk_at_the_last_moment(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    write_text(tmp_path / "notes.txt", "old")
    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(files.os, name, full)
            with pytest.raises(OSError, match="No space"):
                write_text(tmp_path / "notes.txt", "new")
        assert (tmp_path / "notes.txt").read_text() == "old"
        assert names(tmp_path) == ["notes.txt"]


def test_an_error_before_anything_is_written_is_itself_reported(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "notes.txt"):
        pass
    assert names(tmp_path) == []


def test_two_writers_at_once_do_not_share_a_file(tmp_path):
    path = tmp_path / "notes.txt"
    with replacing(path) as one, replacing(path) as two:
        assert one != two
        one.write_text("one")
        two.write_text("two")
    assert path.read_text() == "one" and names(tmp_path) == ["notes.txt"]


def test_permissions_are_those_of_any_new_file(tmp_path):
    write_text(tmp_path / "ours", "x")
    Path(tmp_path / "theirs").write_text("x")
    modes = {stat.S_IMODE(os.stat(tmp_path / name).st_mode) for name in ("ours", "theirs")}
    assert len(modes) == 1


def test_a_picture_has_the_colours_of_its_figure(tmp_path):
    from matplotlib.figure import Figure
    from matplotlib.image import imread

    path = tmp_path / "new" / "picture.png"
    figure = Figure(figsize=(1, 1), dpi=50, facecolor="#c81e2d")
    files.write_picture(path, figure)
    pixels = imread(path)
    assert pixels.shape[:2] == (50, 50)
    assert (pixels[..., :3] * 255).round().astype(int)[25, 25].tolist() == [200, 30, 45]
    assert [p.name for p in path.parent.iterdir()] == ["picture.png"]
