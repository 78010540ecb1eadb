"""The measure of a model that speaks: it must see a mouth that follows, and every way in which one does not."""

import json
import shutil
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import torch

from joyhallo.diffusion.codec import PatchCodec
from joyhallo.drawn.drawing import STILL, Pose, Sitter, look_of
from joyhallo.drawn.sentences import words
from joyhallo.drawn.speaking import VOICES
from joyhallo.evaluation import figures
from joyhallo.evaluation.drawn.acceptance import FIGURES, Figure, Mark, Plan, Takes, follow, sheet, through
from joyhallo.evaluation.drawn.makers import How, open_engine
from joyhallo.evaluation.drawn.mouths import Album, Gauge
from joyhallo.evaluation.drawn.talks import FAINTEST, loudness, portraits, talks
from joyhallo.methods.hallo.config import CHUNK_FRAMES
from tools.demo_model import evaluate as demo

pytestmark = pytest.mark.slow

needs_espeak = pytest.mark.skipif(
    shutil.which("espeak-ng") is None, reason="espeak-ng is not installed, so there is no synthetic speech"
)
SMALL = Plan(clips=5, frames=48, some=4, few=3, begun=40, people=20)


@pytest.fixture
def dice():
    return np.random.default_rng(3)


# ---- figures


def test_the_interval_is_the_bootstraps(dice):
    values = dice.normal(size=20)
    low, high = figures.interval(values)
    known = scipy.stats.bootstrap((values,), np.mean, method="percentile", rng=1).confidence_interval
    assert (low, high) == pytest.approx(known, abs=0.05)


def test_pictures_are_compared_where_they_are_to_be(dice):
    a, b = dice.integers(0, 256, (2, 3, 8, 8, 3), np.uint8)
    where = np.zeros((8, 8), bool)
    where[2:5, 1:7] = True
    part = (slice(None), slice(2, 5), slice(1, 7))
    difference = a[part].astype(float) - b[part]
    assert figures.psnr(a, b, where) == pytest.approx(20 * np.log10(255 / np.sqrt((difference**2).mean())))
    assert figures.distances(a, b, where) == pytest.approx(np.abs(difference).mean((1, 2, 3)))
    moved = np.abs(np.diff(a[part].astype(float), axis=0)).mean((1, 2, 3))
    assert figures.steps(a, where) == pytest.approx(moved)
    apart = torch.cdist(*(torch.from_numpy(some[part].reshape(3, -1)).double() for some in (a, b)))
    assert figures.nearest(a, b, where).tolist() == apart.argmin(1).tolist()


# ---- the measure of mouths


def test_a_mouth_is_as_open_as_it_is_drawn():
    for number in range(6):
        sitter = Sitter(look_of(np.random.default_rng(number)), 128)
        known = np.linspace(0, 1, 9)
        found = Gauge.of(sitter).opening(np.stack([sitter.picture(Pose(opening=opening)) for opening in known]))
        assert found[[0, -1]] == pytest.approx([0, 1])
        assert np.corrcoef(found, known)[0, 1] > 0.99
        assert np.abs(found - known).max() < 0.15
        moved = sitter.picture(Pose(opening=0.5, x=0.01, y=-0.01, lids=1.0))
        assert Gauge.of(sitter).opening(moved[None])[0] == pytest.approx(found[4], abs=0.06)


def test_a_soft_and_greyish_mouth_is_as_open_as_it_was_drawn():
    """The zero of colours moves with the softness of pictures; what a mouth looks most like does not."""
    for number in range(6):
        sitter, known = Sitter(look_of(np.random.default_rng(number)), 128), np.linspace(0, 1, 9)
        film = np.stack([sitter.picture(Pose(opening=opening, spread=0.3)) for opening in known]).astype(float)
        soft = scipy.ndimage.gaussian_filter(film, (0, 1.5, 1.5, 0)) * 0.7 + 50
        album = Album.of(sitter)
        for seen in (film, soft):
            found = album.opening(seen.astype(np.uint8))
            assert found[0] == 0
            assert np.abs(found - known).max() <= 0.1


@needs_espeak
def test_a_mouth_is_measured_through_linear_patches():
    """A codec of other people: what it loses must not hide how far a mouth is open."""
    people = [Sitter(look_of(np.random.default_rng(number)), 128) for number in range(24)]
    shapes = (STILL, Pose(0.4, 1), Pose(0.7, -1), Pose(1))
    seen = torch.from_numpy(np.stack([each.picture(shape) for each in people for shape in shapes]))
    codec = PatchCodec.fit(seen.movedim(-1, 1).float() / 127.5 - 1, 16)
    said = talks(8, 48, 128)
    mouths = [talk.gauge.opening(through(codec, talk.truth)) for talk in said]
    found = follow(mouths, [talk.opening for talk in said])
    assert np.mean(found.own) >= 0.97
    assert min(found.own) > 0.9
    assert abs(np.mean(found.others)) < 0.15
    shut = [talk.gauge.opening(through(codec, talk.portrait[None])).item() for talk in said]
    assert np.abs(shut).max() < 0.05


# ---- who talks


@needs_espeak
def test_nobody_who_talks_was_in_training():
    said, trained = talks(3, 30, 64), talks(3, 30, 64, "train")
    known = set(words("train"))
    for talk in said:
        assert talk.job.split == "validation"
        if any(character.isdigit() for character in talk.text):
            assert not known & set(talk.text.replace(",", "").replace(".", "").split())
    assert {talk.sitter.look for talk in said}.isdisjoint(talk.sitter.look for talk in trained)
    assert set(VOICES["validation"]).isdisjoint(VOICES["train"])
    assert np.array_equal(portraits(3, 64), np.stack([talk.portrait for talk in said]))
    assert talks(3, 30, 64)[2].samples.equal(said[2].samples)


@needs_espeak
def test_sounds_are_changed_as_they_say():
    (talk,) = talks(1, 60, 64)
    assert talk.samples.abs().max().item() == pytest.approx(0.7)
    heard = loudness(talk.samples)[:, 0] > FAINTEST + 10
    change = loudness(talk.scrambled())[heard, 0] - loudness(talk.samples)[heard, 0]
    assert 6 < np.ptp(change) < 25
    assert np.abs(np.diff(change)).max() < 4  # slowly
    broken = talk.broken_off(20)
    assert broken[: 20 * 640].equal(talk.samples[: 20 * 640])
    assert (loudness(broken)[20:, 0] == FAINTEST).all()
    assert len(broken) == len(talk.samples)
    begun = talk.begun(20)
    assert np.array_equal(begun.truth, talk.truth[:20])


# ---- models that are known


class Drawn:
    """A model that draws the truth, with a grain by its seed; or one with a flaw."""

    def __init__(self, flaw="", said=()):
        self.flaw, self.said, self.made = flaw, said, 0

    def make(self, talk, samples, weights, seed):
        self.made += 1
        sitter = self.said[0].sitter if self.flaw == "somebody" else talk.sitter
        spreads = talk.motion.spread.tolist()
        film = np.stack([
            sitter.picture(Pose(float(opening), spread))
            for opening, spread in zip(self.opening(talk, samples, weights).clip(0, 1), spreads, strict=True)
        ])  # fmt: skip
        dice = np.random.default_rng(seed + (self.made if self.flaw == "forgetful" else 0))
        grain = dice.normal(0, 2, film.shape[1:]) + self.grain(film.shape, dice)
        return np.clip(film + grain, 0, 255).round().astype(np.uint8)

    def opening(self, talk, samples, weights):
        known = talk.opening
        scrambled = len(known) == SMALL.frames and not torch.equal(samples, talk.samples)
        if self.flaw == "ignores weights":
            weights = (1, 1, 1)
        if self.flaw == "stirred":
            return np.random.default_rng(0).permutation(known)
        if self.flaw == "loud" or (self.flaw == "led by loudness" and scrambled):
            heard = loudness(samples)[:, 1]
            return heard / heard.max() if self.flaw == "loud" else np.roll(known, 17)
        if self.flaw == "late":
            return np.pad(known, (3, 0), "edge")[:-3] * weights[2]
        if self.flaw == "everybody's":
            return np.mean([each.opening for each in self.said], axis=0)[: len(known)]
        opening = known * weights[2]
        if self.flaw == "needs the pose":
            opening = opening * weights[0]
        opening = np.where(loudness(samples)[:, 0] > FAINTEST, opening, 0)
        return opening + (0.3 if self.flaw == "agape" else 0)

    def grain(self, shape, dice):
        if self.flaw == "noisy":
            return dice.normal(0, 45, shape)
        if self.flaw == "flickering":
            return dice.normal(0, 4, shape)
        if self.flaw == "jumping":
            return (np.arange(shape[0]) // CHUNK_FRAMES % 2 * 4)[:, None, None, None]
        return 0


@pytest.fixture(scope="module")
def said():
    return talks(SMALL.clips, SMALL.frames, 64)


@pytest.fixture(scope="module")
def flawless(said):
    return Takes(Drawn(), said, SMALL, _Nothing())


class _Nothing:
    """A codec that loses nothing."""

    def encode(self, pixels):
        return pixels

    def decode(self, latents):
        return latents / 2 + 0.5


@needs_espeak
@pytest.mark.parametrize("name", FIGURES)
def test_a_model_without_flaws_meets_every_mark(name, flawless):
    figure = FIGURES[name](flawless)
    assert figure.verdict == "met", demo.line(figure)


FLAWS = {
    "stirred": ["sync", "content", "scrambled"],
    "loud": ["content"],
    "late": ["lag"],
    "everybody's": ["other"],
    "ignores weights": ["off", "lips"],
    "needs the pose": ["lips"],
    "led by loudness": ["scrambled"],
    "agape": ["silence"],
    "somebody": ["face", "around", "identity"],
    "noisy": ["face", "around"],
    "flickering": ["flicker"],
    "jumping": ["seams"],
    "forgetful": ["repeat"],
}


@needs_espeak
@pytest.mark.parametrize("flaw", FLAWS)
def test_every_flaw_is_seen(flaw, said):
    takes = Takes(Drawn(flaw, said), said, SMALL)
    for name in FLAWS[flaw]:
        figure = FIGURES[name](takes)
        assert figure.verdict != "met", demo.line(figure)


@needs_espeak
@pytest.mark.parametrize(("flaw", "clear"), [("", True), ("noisy", True), ("stirred", False), ("everybody's", False)])
def test_two_clips_tell_whether_a_mouth_follows(flaw, clear):
    """What tests/comfyui/test_talks.py asks of the bundled model."""
    said = talks(2, 48, 64)
    mouths = [talk.gauge.opening(Drawn(flaw, said).make(talk, talk.samples, (1, 1, 1), 0)) for talk in said]
    truths = [talk.opening for talk in said]
    assert follow(mouths, truths).is_clear == clear
    assert not follow(mouths[::-1], truths).is_clear


@needs_espeak
def test_a_codec_that_shows_no_mouths_is_seen(said):
    class Grey(_Nothing):
        def decode(self, latents):
            return torch.full_like(latents, 0.5)

    assert FIGURES["ruler"](Takes(Drawn(), said, SMALL, Grey())).verdict == "missed"


@needs_espeak
def test_a_film_is_made_once(said):
    maker = Drawn()
    takes = Takes(maker, said, SMALL)
    for name in ("sync", "content", "other", "face"):
        FIGURES[name](takes)
    assert maker.made == SMALL.clips
    picture = sheet(takes, rows=2, columns=3)
    assert picture.shape == (4 * 64, 3 * 64, 3)
    assert np.array_equal(picture[:64, :64], said[0].truth[0])


def test_a_control_that_meets_the_mark_takes_the_figure_its_meaning():
    figure = Figure("some", 0.9, Mark(least=0.8), "other", 0.1)
    assert figure.verdict == "met"
    assert replace(figure, controlled=0.85).verdict == "tells nothing"
    assert replace(figure, value=0.7).verdict == "missed"
    assert replace(figure, value=float("nan")).verdict == "missed"


# ---- the command


@pytest.fixture
def command(monkeypatch, said, tmp_path):
    """Measure a drawn model; the exit code and what was written."""

    def run(flaw, *arguments):
        monkeypatch.setattr(demo, "_maker", lambda *_: nullcontext(Drawn(flaw, said)))
        file = tmp_path / "figures.json"
        common = ("--quick", "--size", "64", "--clips", "3", "--json", str(file))
        code = demo.main([*common, "--only", "sync", "lag", *arguments])
        return code, json.loads(file.read_text())

    return run


@needs_espeak
def test_the_command_tells_by_its_exit_code(command, capsys, tmp_path):
    code, told = command("", "--sheet", str(tmp_path / "sheet.png"))
    assert code == 0
    assert [figure["verdict"] for figure in told["figures"].values()] == ["met", "met"]
    assert told["figures"]["sync"]["mark"] == [0.8, None]
    assert len(told["figures"]["sync"]["each"]) == 3
    shown = capsys.readouterr().out
    assert "2 of 2 marks are met" in shown
    assert "loudness alone" in shown
    assert (tmp_path / "sheet.png").stat().st_size
    code, told = command("late")
    assert code == 1
    assert told["figures"]["lag"]["value"] == 3
    assert "frames that it is late.\n" in capsys.readouterr().out


def test_what_cannot_be_measured_is_told(tmp_path, capsys):
    assert demo.main(["--model", str(tmp_path)]) == 2
    assert "lacks net.safetensors" in capsys.readouterr().err
    assert demo.main(["--clips", "1"]) == 2
    assert "The number of clips is 1;" in capsys.readouterr().err


@needs_espeak
def test_the_engine_says_what_it_is_given():
    talk = talks(1, 24, 64)[0].begun(CHUNK_FRAMES)
    engine = open_engine(demo.MODEL, How(size=64, steps=1))
    film = engine.make(talk, talk.samples, (1, 1, 1), 5)
    assert (film.shape, film.dtype) == ((CHUNK_FRAMES, 64, 64, 3), np.uint8)
    assert np.array_equal(engine.make(talk, talk.samples, (1, 1, 1), 5), film)
    for other in (
        engine.make(talk, talk.scrambled(), (1, 1, 1), 5),
        engine.make(talk, talk.samples, (0, 0, 0), 5),
        engine.make(talk, talk.samples, (1, 1, 1), 6),
    ):
        assert not np.array_equal(other, film)
