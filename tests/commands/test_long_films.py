"""A redub that is shared, or stopped and taken up again, is the one that nobody divided: to the last bit."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest
import soundfile
import torch
from handmade import made
from PIL import Image
from redub_files import LATENTSYNC, MUSETALK, ULTRALIGHT, write_all

from joyhallo.commands import redub as command
from joyhallo.commands import shares, unfinished
from joyhallo.commands.jobs import OPTIONS, Compute, Job
from joyhallo.commands.media import Source
from joyhallo.commands.option import by_name
from joyhallo.commands.redubbing import Setting
from joyhallo.faces.track import Track
from joyhallo.film.read import Film
from joyhallo.methods.redub import RedubError
from joyhallo.methods.ultralight.method import Ultralight
from joyhallo.sound.audio import prepare, read
from tools.short_rows import RATE

TOGETHER = 4  # frames of a chunk, where the method does not insist
SHOWN = 21  # pictures of the film
BOX = 40.0, 40.0, 90.0, 100.0


@pytest.fixture
def long(material, monkeypatch, tmp_path):
    """A folder with a second of speech and a film that is shorter, with a key frame now and then; chunks are small."""
    time = np.arange(RATE) / RATE
    soundfile.write(tmp_path / "long.wav", 0.4 * np.sin(2 * np.pi * 180 * time) * np.sin(20 * time), RATE)
    still = np.asarray(Image.open(material / "anna.png").convert("RGB"))
    pictures = [np.roll(still, (number, -number), (0, 1)) for number in range(SHOWN)]
    options = {"qp": "0", "g": "8", "bf": "2"}
    made(tmp_path / "short.mp4", pictures, codec="libx264rgb", options=options)
    monkeypatch.setattr("joyhallo.film.batches.PIXELS", TOGETHER * 128 * 128)
    torch.set_num_threads(1)
    return tmp_path


def job_of(folder, models, model, **options) -> Job:
    parts = {"hubert": "hubert-large-ls960-ft/pytorch_model.bin"}
    if model != ULTRALIGHT:
        parts = {"vae": "sd-vae-ft-mse", "whisper": "whisper-tiny/model.safetensors"}
    usual = {name: option.default for name, option in by_name(OPTIONS["redub"]).items()}
    given = {**usual, **{name: models / path for name, path in parts.items()}, **options}
    inputs = {"video": folder / "short.mp4", "sound": folder / "long.wav", "model": models / model}
    return Job("redub", inputs, given, folder / "r.mkv", Compute("cpu"))


def track(source: Source) -> Track:
    """A face that moves, in another shot at last, and is lost for a while."""
    boxes = np.array([BOX], np.float32) + np.arange(SHOWN, dtype=np.float32)[:, None] / 2
    boxes[9:13] = np.nan
    scores = np.isfinite(boxes[:, 0]).astype(np.float32)
    return Track(boxes, np.empty((SHOWN, 0, 2), np.float32), scores, "none", source.size, source.rate, (15,))


@pytest.mark.parametrize(
    ("model", "rule", "rate"),
    [
        (ULTRALIGHT, "bounce", Fraction(30_000, 1001)),
        (ULTRALIGHT, "stretch", Fraction(24_000, 1001)),
        (MUSETALK, "bounce", Fraction(30_000, 1001)),
        (LATENTSYNC, "loop", 25),
    ],
    ids=lambda value: str(value).partition("/")[0],
)
def test_shares_done_in_any_order_are_the_whole(long, models, monkeypatch, request, model, rule, rate):
    if model != ULTRALIGHT:
        if not request.config.getoption("--full-size"):
            pytest.skip("networks with a VAE take a minute: run pytest with --full-size")
        write_all(models)
    options = {"when_video_is_short": rule, "blend": "feather", "silence": "source", "steps": 1, "seed": 5}
    job = job_of(long, models, model, **options)
    source = Source.of(job.inputs["video"])
    source = Source(source.read, source.count, source.size, Fraction(rate), source.marks)
    monkeypatch.setattr(Source, "of", lambda path: source)
    recording = prepare(*read(job.inputs["sound"]))
    setting = Setting.of(job)
    work = setting.planned(track(source), recording)
    known = unfinished.Unfinished.of(job, setting.model).at_once()
    whole = shares.Whole(known, job)
    expected = torch.cat(list(work.pictures(None)))
    known.keep_face(track(source), [])
    known.keep_sound(recording)
    monkeypatch.setattr(shares, "LONGEST", work.plan.method.at_once)
    done = [shares.do(share) for share in reversed(shares.shares(whole, work))]
    kept = known.chunks(work.plan.method)
    speaking = [index for index in range(work.count) if work.speaks(index)]
    assert len(done) == len(speaking) > 1
    assert all(kept.read(index) is not None for index in speaking)
    assert torch.equal(torch.cat(list(work.pictures(kept))), expected)
    assert sum(shares.do(share).earlier for share in shares.shares(whole, work)) == len(speaking)


def test_a_stopped_run_is_taken_up(run, long, models, model, monkeypatch):
    spoken, calls = Ultralight.speak, []

    def speak(self, *given):
        calls.append(1)
        if len(calls) == stop:
            raise KeyboardInterrupt
        return spoken(self, *given)

    given = "redub", "short.mp4", "long.wav", "--model", model, "--models", models, "--box", "40,40,90,100", "--json"
    monkeypatch.setattr(Ultralight, "speak", speak)
    stop = 0
    assert run(*given, "-o", "quiet.mp4")[0] == 0
    chunks = len(calls)
    for soon, left in ((unfinished.SOON, []), (0.0, ["r.mp4.unfinished"])):
        monkeypatch.setattr(unfinished, "SOON", soon)
        calls.clear()
        stop = 4
        code, _, err = run(*given, "-o", "r.mp4")
        assert (code, "the same command goes on" in err) == (130, bool(left))
        assert [path.name for path in long.glob("r.*")] == left
    (long / "r.mp4.unfinished" / "dear.txt").write_text("of somebody")
    calls.clear()
    stop = 0
    monkeypatch.setattr(command, "tracked", None)  # the face is known, too
    code, out, _ = run(*given, "-o", "r.mp4", "--blend", "feather", "--quality", "small")
    assert (code, len(calls), json.loads(out)["frames_of_an_earlier_run"]) == (0, chunks - 3, 3 * TOGETHER)
    assert [path.name for path in (long / "r.mp4.unfinished").iterdir()] == ["dear.txt"]


def test_workers_make_the_same_file(run, long, models, model, monkeypatch):
    monkeypatch.undo()  # of which other processes would not know
    monkeypatch.chdir(long)
    given = "redub", "short.mp4", "long.wav", "--model", model, "--models", models, "--box", "40,40,90,100", "--force"
    assert run(*given, "-o", "r.mp4")[0] == 0
    alone = (long / "r.mp4").read_bytes()
    monkeypatch.setattr(Ultralight, "speak", None)  # in this process, which only writes
    code, _, err = run(*given, "-o", "r.mp4", "--workers", 1)
    assert code == 0, err
    assert (long / "r.mp4").read_bytes() == alone
    assert [path.name for path in long.glob("r.*")] == ["r.mp4"]


def test_other_wishes_are_another_film(long, models):
    job = job_of(long, models, ULTRALIGHT)
    network = Setting.of(job).model

    def key(**options) -> str:
        return unfinished.Unfinished.of(job_of(long, models, ULTRALIGHT, **options), network).key

    usual = key()
    assert key(quality="small", label="en", blend="mouth") == usual
    assert len({usual, key(strength=0.5), key(silence="hold"), key(box=BOX)}) == 4
    soundfile.write(long / "long.wav", np.zeros(RATE // 2), RATE)
    assert key() != usual


def test_what_is_damaged_is_made_again(long, models, caplog):
    job = job_of(long, models, ULTRALIGHT)
    known = unfinished.Unfinished.of(job, Setting.of(job).model)
    found = track(Source.of(job.inputs["video"]))
    known.keep_face(found, ["a report"])
    again, report = known.face()
    assert np.array_equal(again.boxes, found.boxes, equal_nan=True)
    assert (again.cuts, again.size, again.rate, again.scheme, report) == (
        (15,), found.size, found.rate, "none", ["a report"])  # fmt: skip
    (path,) = known.folder.glob("*.track")
    content = bytearray(path.read_bytes())
    content[200] ^= 255
    for torn in (bytes(content), content[:300], b""):
        path.write_bytes(torn)
        assert known.face() is None
    assert "it is made again" in caplog.text


def test_a_full_disk_is_told_before_work_begins(run, long, models, model, monkeypatch):
    monkeypatch.setattr("joyhallo.files.space.free", lambda folder: 256 << 20)
    given = "redub", "short.mp4", "long.wav", "-o", "r.mkv", "--model", model, "--models", models, "--box", "9,9,90,99"
    code, _, err = run(*given)
    assert (code, "--no-resume" in err, "for finished chunks" in err) == (2, True, True)
    assert run(*given, "--no-resume")[0] == 0
    assert len(list(Film(long / "r.mkv").pictures())) == 25


def test_a_worker_that_died_is_told(long, models):
    job = job_of(long, models, ULTRALIGHT)
    setting = Setting.of(job)
    kept = unfinished.Unfinished.of(job, setting.model).chunks(setting.method)
    share = shares.Share(shares.Whole(kept.unfinished, job), range(8, 12))
    awaited = shares.Awaited(kept, iter([shares.Done(range(4)), shares.lost(share, "it was killed")]))
    assert awaited.read(3) is None
    with pytest.raises(RedubError, match=r"chunk 8: it was killed\..*fewer workers"):
        awaited.read(4)


@pytest.mark.parametrize("given", [("--workers", "-1"), ("--gpus", "1")])
def test_a_crew_that_makes_no_sense_is_told(run, material, models, model, given):
    inputs = material / "film.mkv", material / "hello.wav"
    code, _, err = run("redub", *inputs, "-o", "r.mp4", "--models", models, "--model", model, *given)
    assert (code, "expected" in err) == (2, True)
