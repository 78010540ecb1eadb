"""What killed processes leave goes with the next one; what living processes write stays."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from shared import REPOSITORY

from joyhallo.files import scratch as module
from joyhallo.files.scratch import GRACE, LOCK, PATIENCE, lasting_scratch, scratch, sweep

WRITER = """
import sys, time
from pathlib import Path
from joyhallo.files.scratch import scratch
with scratch(Path(sys.argv[1])) as folder:
    (folder / "film.part").write_bytes(bytes(1000))
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def writer(tmp_path):
    """A process that writes, and its folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert process.stdout is not None
    with process.stdout:
        yield process, Path(process.stdout.readline().strip())
        kill(process)


def kill(process: subprocess.Popen) -> None:
    process.kill()
    process.wait()


def aged(folder: Path, seconds: float) -> Path:
    for path in (*folder.iterdir(), folder):
        os.utime(path, times=(time.time() - seconds,) * 2)
    return folder


def of_another_computer(folder: Path) -> Path:
    mark = folder.name.split("-")[1]
    return folder.rename(folder.with_name(folder.name.replace(mark, "00000000")))


def test_nothing_is_left_afterwards(tmp_path):
    def fail(folder):
        (folder / "film.part").touch()
        raise KeyError

    with pytest.raises(KeyError), scratch(tmp_path / "new") as folder:
        fail(folder)
    assert list((tmp_path / "new").iterdir()) == []


def test_what_a_killed_process_left_goes_and_what_a_living_one_writes_stays(tmp_path, writer):
    process, folder = writer
    aged(folder, 10 * PATIENCE)
    sweep(tmp_path)
    assert (folder / "film.part").exists()
    kill(process)
    with scratch(tmp_path):
        assert not folder.exists()


def test_a_new_folder_may_not_be_locked_yet(tmp_path, writer):
    process, folder = writer
    kill(process)
    sweep(tmp_path)
    assert folder.exists()
    (aged(folder, GRACE + 1) / LOCK).unlink()
    aged(folder, GRACE + 1)
    sweep(tmp_path)
    assert not folder.exists()


def test_another_computers_folder_must_be_a_day_old(tmp_path, writer):
    process, folder = writer
    folder = of_another_computer(folder)
    kill(process)
    sweep(of_age := aged(folder, PATIENCE - 60).parent)
    assert folder.exists()
    aged(folder, PATIENCE + 60)
    os.utime(folder / "film.part")  # it is still being written
    sweep(of_age)
    assert folder.exists()
    aged(folder, PATIENCE + 60)
    sweep(of_age)
    assert not folder.exists()


def test_a_disk_without_locks(tmp_path, writer, monkeypatch):
    """Nobody can tell whether the process lives: a day has to pass."""
    process, folder = writer
    kill(process)

    def unsupported(lock):
        raise OSError("no locks available")

    monkeypatch.setattr(module, "_is_free", unsupported)
    sweep(aged(folder, PATIENCE - 60).parent)
    assert folder.exists()
    sweep(aged(folder, PATIENCE + 60).parent)
    assert not folder.exists()


def test_what_is_not_ours_is_left_alone(tmp_path):
    ours = f".joyhallo-{module._computer()}-{'0' * 32}"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    (tmp_path / f"{ours}x").mkdir()
    (tmp_path / ".0123.part").touch()
    (tmp_path / ours).symlink_to(elsewhere, target_is_directory=True)
    before = sorted(tmp_path.rglob("*"))
    for path in before:
        os.utime(path, (0, 0), follow_symlinks=False)
    sweep(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_one_that_lasts_is_the_same_until_somebody_removes_it(tmp_path):
    folder = lasting_scratch(tmp_path)
    assert lasting_scratch(tmp_path) == folder
    (folder / LOCK).unlink()
    folder.rmdir()
    again = lasting_scratch(tmp_path)
    assert again != folder
    assert (again / LOCK).exists()


def test_one_that_lasts_goes_with_its_process(tmp_path):
    code = "import sys; from pathlib import Path; from joyhallo.files.scratch import lasting_scratch as scratch\n"
    code += "(scratch(Path(sys.argv[1])) / 'film').touch()"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, cwd=REPOSITORY)
    assert list(tmp_path.iterdir()) == []
