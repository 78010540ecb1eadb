import os
import sys

import pytest

from joyhallo.files.regular import IrregularError, open_regular, size_of

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")


def pipe(path):
    os.mkfifo(path)


def link(path):
    path.with_name("target").write_text("theirs")
    path.symlink_to(path.with_name("target"))


def link_to_nothing(path):
    path.symlink_to(path.with_name("target"))


KINDS = [(pipe, "a pipe"), (link, "a symbolic link"), (link_to_nothing, "a symbolic link"), (os.mkdir, "a folder")]


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDWR, os.O_RDWR | os.O_CREAT], ids=["read", "write", "create"])
@pytest.mark.parametrize(("put", "words"), KINDS)
def test_only_files_are_opened_and_no_pipe_is_waited_for(tmp_path, put, words, flags):
    put(tmp_path / "journal")
    with pytest.raises(IrregularError, match=f"journal is {words}, but a file belongs there; remove it"):
        open_regular(tmp_path / "journal", flags)
    with pytest.raises(IrregularError):
        size_of(tmp_path / "journal")
    target = tmp_path / "target"
    assert not target.exists() or target.read_text() == "theirs"


@pytest.mark.parametrize(("put", "words"), [(pipe, "a pipe"), (link, "links|symbolic")])
def test_what_is_put_there_at_the_last_moment(tmp_path, monkeypatch, put, words):
    from joyhallo.files import regular

    monkeypatch.setattr(regular, "size_of", lambda path: put(path))
    with pytest.raises(OSError, match=words):
        open_regular(tmp_path / "journal", os.O_RDWR | os.O_CREAT)


def test_files_are_made_and_read_again(tmp_path):
    assert size_of(tmp_path / "new") == size_of(tmp_path / "no" / "folder") == 0
    with open(open_regular(tmp_path / "new", os.O_RDWR | os.O_CREAT), "r+b") as file:
        file.write(b"hello")
    with open(open_regular(tmp_path / "new", os.O_RDONLY), "rb") as file:
        assert file.read() == b"hello"
    assert size_of(tmp_path / "new") == 5
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "none", os.O_RDWR)
