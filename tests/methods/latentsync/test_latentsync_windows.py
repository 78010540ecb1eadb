"""LatentSync behind the seam: what is painted, windows that stay whole, resuming, and steps."""

from copy import deepcopy
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from small import small_whisper
from torch.nn import functional as F

from joyhallo.config import SAMPLE_RATE
from joyhallo.faces.blend import Blend
from joyhallo.faces.track import Track
from joyhallo.files.journal import Journal
from joyhallo.methods.latentsync.masks import AREAS, mask
from joyhallo.methods.latentsync.method import redubber
from joyhallo.methods.latentsync.network import Sizes, UNet
from joyhallo.methods.redub import Engine, RedubError, Wishes, in_parts, placed, redub
from joyhallo.methods.script import script
from joyhallo.sound.audio import Recording

SIZE, SIDE = (120, 110), 64


class Codec:
    """In place of a VAE: mixtures of the colours, averaged."""

    def encode(self, pixels):
        four = torch.cat([pixels, pixels.mean(1, keepdim=True)], dim=1)
        return F.avg_pool2d(four, 8)

    def decode(self, latents):
        return F.interpolate(latents[:, :3].float(), scale_factor=8.0)


@pytest.fixture(scope="module")
def engine():
    torch.manual_seed(0)
    net = UNet(Sizes((32, 32), 1, 16)).requires_grad_(False)
    return Engine(net, parts={"vae": Codec(), "whisper": small_whisper(16)})


def method(engine, **wishes):
    return replace(redubber(engine, 16, Wishes(steps=2, **wishes)), size=SIDE)


def track(count=6, cuts=(), missing=()):
    moved = np.random.default_rng(0).uniform(-4, 4, (count, 1, 2))
    points = (np.array([[45, 45], [75, 45], [60, 61], [50, 75], [70, 75]]) + moved).astype(np.float32)
    boxes = np.concatenate([points.min(1) - 20, points.max(1) + 20], axis=1)
    boxes[list(missing)], points[list(missing)] = np.nan, np.nan
    return Track(boxes, points, np.ones(count, np.float32), "marks", SIZE, Fraction(25), tuple(cuts))


def film(count=6):
    small = torch.rand(count, 3, 11, 12, generator=torch.Generator().manual_seed(1))
    large = F.interpolate(small, SIZE[::-1], mode="bicubic").clamp(0, 1) * 255
    return large.byte().permute(0, 2, 3, 1).contiguous()


def made(redubber, seen, kept=None, seconds=None, pictures=None):
    count = len(seen)
    sound = torch.rand(round((seconds or count / 25) * SAMPLE_RATE), generator=torch.Generator().manual_seed(0))
    heard, crops = redubber.listen(Recording(sound), Fraction(25)), redubber.crops(seen)
    pictures = film(count) if pictures is None else pictures
    written = script(np.arange(count), crops.usable, seen.cuts, len(heard))
    chunks = list(redub(redubber, iter(pictures), crops, heard, written, kept=kept))
    faces = torch.cat([chunk.frames.float() for chunk in chunks])
    return torch.cat([placed(chunk, crops, written, Blend()) for chunk in chunks]), faces


# ---- what is painted


def test_a_frame_without_a_face_stays(engine):
    pictures = film()
    found, _ = made(method(engine), track(missing=(2,)), pictures=pictures.clone())
    assert torch.equal(found[2], pictures[2])
    assert not torch.equal(found[1], pictures[1])


def test_what_is_not_masked_is_not_painted(engine):
    for area in AREAS:
        redubber = method(engine, area=area)
        seen = track(1)
        _, faces = made(redubber, seen)
        before = redubber.crops(seen).cut(film(1), [0])[0].float() / 127.5 - 1
        kept = mask(area, SIDE).squeeze() == 1
        assert (faces[0] - before)[:, kept].abs().max() < 1e-3
        assert (faces[0] - before)[:, mask(area, SIDE).squeeze() == 0].abs().max() > 0.1


def test_an_unknown_area_and_another_whisper_are_refused(engine):
    with pytest.raises(RedubError, match="knows no area jaw"):
        redubber(engine, 16, Wishes(area="jaw"))
    other = replace(engine, parts={**engine.parts, "whisper": small_whisper(384)})
    with pytest.raises(RedubError, match=r"a Whisper 16 numbers wide, .* is Whisper tiny"):
        redubber(other, 16, Wishes())


def test_one_frame_goes_through_the_vae_at_a_time(engine, monkeypatch):
    seen, encode, decode = [], Codec.encode, Codec.decode
    monkeypatch.setattr(Codec, "encode", lambda self, pixels: seen.append(len(pixels)) or encode(self, pixels))
    monkeypatch.setattr(Codec, "decode", lambda self, latents: seen.append(len(latents)) or decode(self, latents))
    large = replace(method(engine, guidance=1.0), size=256)
    heard = large.listen(Recording(torch.rand(6400)), Fraction(25))
    crops = torch.zeros(5, 3, 256, 256, dtype=torch.uint8)
    assert large.speak(crops, heard[[0, 1, 2, 3, 4]], lambda *_: None).shape == crops.shape
    assert seen == [1] * 15


@pytest.mark.parametrize(("size", "most"), [(256, [4, 1]), (512, [1] * 5), (1024, [1] * 5)])
def test_a_graphics_card_takes_a_few_small_frames_at_a_time(size, most):
    seen = []
    frames = torch.empty(5, 3, size, size, device="meta")
    made = in_parts(lambda some: seen.append(len(some)) or some, frames, size, "meta")
    assert seen == most
    assert made.shape == frames.shape


# ---- windows


def test_the_last_window_is_short_and_windows_do_not_know_each_other(engine):
    seen, pictures = track(17), film(17)
    whole, _ = made(method(engine), seen, pictures=pictures.clone())
    assert len(whole) == 17
    other = pictures.clone()
    other[:16] = 255 - other[:16]
    changed, _ = made(method(engine), seen, pictures=other)
    assert torch.equal(whole[16], changed[16])
    assert not torch.equal(whole[16], pictures[16])


def test_the_length_of_a_window_matters(engine):
    """Norms see all of its frames: nothing may be added to fill it."""
    _, five = made(method(engine), track(5), seconds=1, pictures=film(6)[:5].clone())
    _, six = made(method(engine), track(6), seconds=1, pictures=film(6))
    assert (five - six[:5]).abs().max() > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_resuming_gives_the_same_to_the_last_bit(engine, tmp_path, dtype):
    engine = replace(engine, network=deepcopy(engine.network).to(dtype), dtype=dtype)
    seen, redubber = track(17), method(engine)
    shape = redubber.at_once, 3, SIDE, SIDE
    first, faces = made(redubber, seen, Journal(tmp_path, "key", shape, redubber.stored))
    asked = []
    again = replace(redubber)
    object.__setattr__(again, "speak", lambda *_: asked.append(1))
    second, found = made(again, seen, Journal(tmp_path, "key", shape, redubber.stored))
    assert not asked
    assert torch.equal(faces, found)
    assert torch.equal(first, second)


# ---- guidance and steps


def test_without_guidance_one_row_runs(engine, monkeypatch):
    rows, forward = [], UNet.forward

    def counted(self, latents, timestep, heard, *more):
        rows.append([row is not None for row in heard])
        return forward(self, latents, timestep, heard, *more)

    monkeypatch.setattr(UNet, "forward", counted)
    made(method(engine, guidance=1.0), track(1))
    made(method(engine, guidance=2.0), track(1))
    assert rows == [[True]] * 2 + [[False, True]] * 2


@pytest.mark.parametrize("solver", ["ddim", "dpmpp_2m", "unipc"])
def test_every_step_can_be_cancelled(engine, solver):
    redubber, steps = method(engine, solver=solver), []

    def cancel(done, total, latents):
        steps.append((done, total, tuple(latents.shape)))
        raise KeyboardInterrupt

    heard = redubber.listen(Recording(torch.rand(3200)), Fraction(25))
    with pytest.raises(KeyboardInterrupt):
        redubber.speak(torch.zeros(2, 3, SIDE, SIDE, dtype=torch.uint8), heard[[0, 1]], cancel)
    assert steps == [(1, 2, (2, 4, 8, 8))]
