"""What is kept survives: kills at any moment, torn and damaged files, full disks."""

import errno
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import small
import torch
from shared import REPOSITORY

from joyhallo.diffusion.schedule import Schedule, ScheduleConfig
from joyhallo.files import journal
from joyhallo.files.journal import Journal, JournalError, key_of, tidy
from joyhallo.files.space import Need, RoomError, check_disks
from joyhallo.methods.hallo.sampling import Settings, animate

SHAPE = (4, 4, 8, 8)
SETTINGS = Settings(steps=2, chunk_frames=4, seed=3, overlap=1)


def latents(seed: int) -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def kept(tmp_path) -> Journal:
    made = Journal(tmp_path / "journal", "key", SHAPE)
    for index in range(3):
        made.write(index, latents(index))
    return made


def again(made: Journal, key: str = "key") -> Journal:
    return Journal(made.path.parent, key, SHAPE)


def damage(made: Journal, at: int) -> None:
    content = bytearray(made.path.read_bytes())
    content[at] ^= 1
    made.path.write_bytes(content)


# ---- read again


def test_what_was_written_is_read_bit_for_bit(kept):
    for index in range(3):
        assert torch.equal(again(kept).read(index), latents(index))
    assert again(kept).read(3) is None
    assert len(again(kept)) == 3


def test_nothing_there_yet(tmp_path):
    fresh = Journal(tmp_path / "none", "key", SHAPE)
    assert fresh.read(0) is None
    assert len(fresh) == 0
    assert not (tmp_path / "none").exists()


def test_any_precision_and_layout(tmp_path):
    made = Journal(tmp_path, "key", SHAPE)
    odd = latents(0).half().permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    made.write(0, odd)
    assert torch.equal(again(made).read(0), odd.float())


# ---- torn and damaged


@pytest.mark.parametrize("lost", [1, 100, 4000])
def test_a_torn_record_does_not_count(kept, lost, caplog):
    with kept.path.open("r+b") as file:
        file.truncate(3 * kept.record - lost)
    assert torch.equal(again(kept).read(1), latents(1))
    assert again(kept).read(2) is None
    assert len(again(kept)) == 2


@pytest.mark.parametrize("where", [0, 31, 32, 2000, -1])
def test_a_damaged_record_does_not_count(kept, where, caplog):
    damage(kept, kept.record + where % kept.record)
    assert again(kept).read(1) is None
    assert "Chunk 1" in caplog.text
    assert torch.equal(again(kept).read(2), latents(2))


def test_a_record_counts_in_its_place_alone(kept):
    """Copied over another one, or from another clip's file, it is as good as damaged."""
    content = kept.path.read_bytes()
    kept.path.write_bytes(content[: kept.record] * 3)
    assert [again(kept).read(index) is None for index in range(3)] == [False, True, True]
    again(kept, "other").path.write_bytes(content)
    assert again(kept, "other").read(0) is None


def test_a_damaged_chunk_is_made_again(tmp_path):
    net, clip = small.net(), (small.BlockCodec(), Schedule(), small.portrait(), small.windows(10), SETTINGS)
    made = Journal(tmp_path, "key", SHAPE)
    whole = torch.cat([chunk.frames for chunk in animate(net, *clip, kept=made)])
    before = made.path.read_bytes()
    damage(made, made.record + 500)
    assert torch.equal(torch.cat([chunk.frames for chunk in animate(net, *clip, kept=again(made))]), whole)
    assert made.path.read_bytes() == before


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_a_number_is_neither_kept_nor_taken(kept, value, caplog):
    latents = torch.zeros(SHAPE)
    latents[0, 0, 1, 1] = value
    with pytest.raises(JournalError, match=r"Chunk 1 holds values that are not numbers.*fp32"):
        kept.write(1, latents)
    payload = latents.numpy().tobytes()
    with kept.path.open("r+b") as file:  # as an earlier version kept it
        file.seek(kept.record)
        file.write(kept._digest(1, payload) + payload)
    assert kept.read(1) is None
    assert "Chunk 1 in" in caplog.text


# ---- killed

VICTIM = """
import sys
from pathlib import Path
import small, torch
from joyhallo.diffusion.schedule import Schedule
from joyhallo.files.journal import Journal
from joyhallo.methods.hallo.sampling import animate
from test_journal import SETTINGS, SHAPE
torch.set_num_threads(1)
clip = small.BlockCodec(), Schedule(), small.portrait(), small.windows(24), SETTINGS
made = Journal(Path(sys.argv[1]), "key", SHAPE)
print("ready", flush=True)
for chunk in animate(small.net(), *clip, kept=made):
    print(chunk.index, flush=True)
"""


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on(tmp_path):
    torch.set_num_threads(1)
    clip = small.BlockCodec(), Schedule(), small.portrait(), small.windows(24), SETTINGS
    undisturbed = Journal(tmp_path / "undisturbed", "key", SHAPE)
    expected = torch.cat([chunk.frames for chunk in animate(small.net(), *clip, kept=undisturbed)])
    folder, moments, counts = tmp_path / "killed", random.Random(1), []
    paths = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests" / "helpers"), str(Path(__file__).parent)])
    for _ in range(2):
        victim = subprocess.Popen(
            [sys.executable, "-c", VICTIM, str(folder)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        )
        assert victim.stdout is not None
        assert victim.stdout.readline() == b"ready\n"
        for _ in range(2):  # chunks; of one alone it could not be told whether it was taken up
            victim.stdout.readline()
        time.sleep(moments.random() * 0.4)
        victim.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
        victim.communicate()
        counts.append(len(Journal(folder, "key", SHAPE)))
    assert counts[0] > 1
    steps = []
    final = animate(small.net(), *clip, kept=Journal(folder, "key", SHAPE), on_step=steps.append)
    assert torch.equal(torch.cat([chunk.frames for chunk in final]), expected)
    assert len(steps) <= 2 * (len(undisturbed) - counts[-1] + 1)
    assert (folder / "key.chunks").read_bytes() == undisturbed.path.read_bytes()


# ---- disks


def test_a_full_disk_leaves_what_is_whole(kept, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(journal.os, "fsync", full)
    with pytest.raises(JournalError, match=r"The disk is full: chunk 3 .* The 3 chunks before it are safe"):
        kept.write(3, latents(3))
    assert torch.equal(again(kept).read(2), latents(2))


FULL = """
import resource, sys, torch
from pathlib import Path
from joyhallo.files.journal import Journal
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
Journal(Path(sys.argv[1]), "key", (100,)).write(0, torch.zeros(100))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot limit the size of files")
def test_a_disk_that_really_takes_no_more(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    ran = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], env=environment, capture_output=True, text=True)
    assert "JournalError: The disk is full: chunk 0 could not be kept" in ran.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pipes among files")
@pytest.mark.parametrize("put", [os.mkfifo, lambda path: path.symlink_to(path.with_name("target"))], ids="pl")
def test_only_a_file_is_a_journal(kept, put):
    """Known before anything is computed; a pipe would be waited for, and where a link leads would be overwritten."""
    kept.path.rename(kept.path.with_name("target"))
    before = kept.path.with_name("target").read_bytes()
    put(kept.path)
    for use in (len, lambda made: made.read(0), lambda made: made.write(0, latents(5))):
        with pytest.raises(JournalError, match=r"key.chunks is a (pipe|symbolic link), but a file .* remove it"):
            use(again(kept))
    assert kept.path.with_name("target").read_bytes() == before


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="Check the folder"):
        Journal(tmp_path / "file", "key", SHAPE).write(0, latents(0))


def test_too_little_room_is_seen_beforehand(tmp_path):
    check_disks([Need("the frames", tmp_path / "not" / "yet", 1000)])
    petabytes = Need("the frames", tmp_path, 10**16), Need("finished chunks", tmp_path / "journal", 10**6)
    with pytest.raises(RoomError, match=r"this needs 10000000\.0 GB for the frames and 1 MB for finished chunks, and"):
        check_disks(petabytes)


# ---- tidying


def test_old_journals_go_and_then_the_oldest(tmp_path):
    now = time.time()
    for days, name in enumerate(["today", "yesterday", "older", "ancient"]):
        path = tmp_path / f"{name}.chunks"
        path.write_bytes(bytes(1000))
        os.utime(path, (now, now - 86400 * (days if days < 3 else 30)))
    other = tmp_path / "somebody.else"
    other.write_bytes(bytes(1000))
    os.utime(other, (0, 0))

    def left():
        return {path.name.split(".")[0] for path in tmp_path.iterdir()} - {"somebody"}

    tidy(tmp_path, tmp_path / "none.chunks", days=14, size=10_000)
    assert left() == {"today", "yesterday", "older"}
    tidy(tmp_path, tmp_path / "older.chunks", days=14, size=2500)
    assert left() == {"today", "older"}
    assert other.exists()


def test_one_in_use_is_spared_however_old(tmp_path):
    path = tmp_path / "mine.chunks"
    path.write_bytes(bytes(1000))
    os.utime(path, (0, 0))
    tidy(tmp_path, path, days=1, size=10)
    assert path.exists()


# ---- names


def test_one_name_for_the_same(tmp_path):
    parts = {"a": (1, Settings(), [torch.ones(3)]), "b": "text"}
    assert key_of(**parts) == key_of(b="text", a=(1, Settings(), [torch.ones(3)]))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([[1, 2], []], [[1], [2]]),
        ([1, 23], [12, 3]),
        (torch.zeros(2), torch.zeros(2, dtype=torch.int32)),
        (torch.zeros(2, 3), torch.zeros(3, 2)),
    ],
)
def test_what_is_made_of_the_same_bytes_has_another_name(one, other):
    assert key_of(a=one) != key_of(a=other)


def test_another_version_has_other_names(monkeypatch):
    before = key_of(a=1)
    monkeypatch.setattr(journal, "VERSION", journal.VERSION + 1)
    assert key_of(a=1) != before


@pytest.mark.parametrize(
    "other",
    [
        {"a": torch.tensor([1.0, 2.0000002])},
        {"a": torch.tensor([[1.0, 2.0]])},
        {"a": torch.tensor([1.0, 2.0], dtype=torch.float64)},
        {"a": [torch.tensor([1.0]), torch.tensor([2.0])]},
        {"a": (1.0, 2.0)},
        {"b": torch.tensor([1.0, 2.0])},
        {"a": torch.tensor([1.0, 2.0]), "b": ScheduleConfig()},
    ],
)
def test_another_name_for_anything_else(other):
    assert key_of(**other) != key_of(a=torch.tensor([1.0, 2.0]))
