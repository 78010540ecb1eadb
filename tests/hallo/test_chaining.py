"""Chunks that go on from one another: what they overlap by, where they begin anew, and what is kept of them."""

from dataclasses import replace

import pytest
import small
import torch
from torch import Tensor

from joyhallo.diffusion.schedule import Schedule
from joyhallo.diffusion.solvers import SOLVERS
from joyhallo.methods.hallo.sampling import Chunk, Sampler, Settings, animate, chunk_starts
from joyhallo.methods.hallo.steadiness import SeamFade

QUICK = Settings(steps=2, chunk_frames=4, seed=3)


@pytest.fixture(scope="module")
def net():
    return small.net(small.SHALLOW)


def chunks_of(net, settings=QUICK, *, count=10, **more) -> list[Chunk]:
    windows = small.windows(count)
    return list(
        animate(net, small.BlockCodec(), Schedule(), small.portrait(config=small.SHALLOW), windows, settings, **more)
    )


def frames_of(chunks: list[Chunk]) -> Tensor:
    return torch.cat([chunk.frames for chunk in chunks])


class Shelf(dict):
    """Chunks kept in memory."""

    def read(self, index: int) -> Tensor | None:
        return self.get(index)

    def write(self, index: int, latents: Tensor) -> None:
        self[index] = latents.clone()


# ---- which rows the chunks are made of


@pytest.mark.parametrize("overlap", [0, 1, 2, 3])
@pytest.mark.parametrize("length", [1, 3, 4, 5, 7, 8, 9, 50])
def test_every_frame_is_made_once(length, overlap):
    settings = replace(QUICK, overlap=overlap)
    shown = []
    for index, start in enumerate(chunk_starts(length, settings)):
        shown += range(start + (overlap if index else 0), start + 4)
    assert shown == list(range(len(shown)))
    assert length <= len(shown) < length + 4  # no chunk that shows nothing


def test_an_overlap_makes_as_many_frames(net):
    chunks = chunks_of(net, replace(QUICK, overlap=1))
    assert [chunk.start for chunk in chunks] == [0, 4, 7]
    assert [len(chunk.frames) for chunk in chunks] == [4, 3, 3]


@pytest.mark.parametrize("overlap", [-1, 4])
def test_an_overlap_that_leaves_no_new_frame(net, overlap):
    with pytest.raises(ValueError, match="choose from 0 to 3"):
        chunks_of(net, replace(QUICK, overlap=overlap))


# ---- what an overlap holds


@pytest.mark.parametrize("guidance", [1.0, 3.5])
def test_the_overlapped_frames_are_held_to_those_shown(net, guidance):
    first, second, third = chunks_of(net, replace(QUICK, overlap=2, guidance=guidance), count=8)
    torch.testing.assert_close(second.latents[:2], first.latents[2:], rtol=0, atol=1e-5)
    torch.testing.assert_close(third.latents[:2], second.latents[2:], rtol=0, atol=1e-5)
    assert (second.latents[2:] - first.latents[2:]).abs().max() > 0.1


def test_an_overlap_leaves_the_first_chunk_alone(net):
    plain, overlapping = chunks_of(net)[0], chunks_of(net, replace(QUICK, overlap=2))[0]
    assert torch.equal(plain.latents, overlapping.latents)


def test_the_held_frames_reach_the_new_ones(net):
    """The same chunk from the same noise: what it is held to makes a difference to what follows."""
    drawn = [torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed in range(4)]
    other = [drawn[1], *drawn[1:]]
    settings = replace(QUICK, overlap=2, motion_frames=0)
    ends = [chunks_of(net, settings, count=6, noise=noise)[1].latents[2:] for noise in (drawn, other)]
    assert (ends[0] - ends[1]).abs().max() > 0.01


def test_corrected_frames_are_continued_as_they_are_shown(net):
    """They are encoded anew, since the latents of before would bring back what was corrected."""
    darker = chunks_of(net, replace(QUICK, overlap=1), count=7, steady=lambda frames: frames * 0.5)
    codec = small.BlockCodec()
    torch.testing.assert_close(darker[1].latents[:1], codec.encode(darker[0].frames[-1:] * 2 - 1), rtol=0, atol=1e-5)


# ---- all of it, told plainly

FADED = 2  # frames over which a joint fades out
LIPS = torch.zeros(64, 64)
LIPS[40:56, 20:44] = 1


def told_plainly(net, settings: Settings, count: int, noise: list[Tensor], fades: bool, anchors=()) -> Tensor:
    """The frames 0 to `count`, in -1..1: whatever was shown is in one list, and looked up there by its number."""
    codec, portrait, windows = small.BlockCodec(), small.portrait(config=small.SHALLOW), small.windows(count)
    sampler = Sampler(net, portrait, codec.encode(portrait.picture[None]), settings, torch.device("cpu"), torch.float32)
    steps, shown, denoised = SOLVERS["ddim"].steps(Schedule(), settings.steps), [], {}
    for index, drawn in enumerate(noise):
        first = max(0, len(shown) - settings.overlap)  # of this chunk's frames
        numbers = range(first, first + len(drawn))
        before = [shown[n] if n >= 0 else portrait.picture for n in range(first - settings.motion_frames, first)]
        anew = index == 0 or index in anchors or not before
        speech = torch.stack([windows[min(n, count - 1)] for n in numbers])
        chunk = sampler.prepare_chunk(speech, first, None if anew else codec.encode(torch.stack(before)))
        again = range(first, len(shown))
        held = [denoised[n] if n in denoised else codec.encode(shown[n][None])[0] for n in again]
        latents = sampler.denoise(chunk, drawn, steps, None, torch.stack(held) if held else None)
        frames = dict(zip(numbers, codec.decode(latents), strict=True))
        joint = len(shown)
        if fades and shown:
            denoised.clear()  # what is shown is no longer what was denoised
            gap = (shown[-1] + 1) / 2 - frames[joint]
            for n in range(joint, min(joint + FADED, numbers.stop)):
                share = 1 - (n - joint + 1) / (FADED + 1)
                frames[n] = (frames[n] + share * (1 - LIPS) * gap).clamp(0, 1)
        else:
            denoised |= dict(zip(numbers, latents, strict=True))
        shown += [2 * frames[n] - 1 for n in range(joint, numbers.stop)]
    return torch.stack(shown[:count])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overlap", "motion", "count", "chunks", "anchors", "fades"),
    [
        (0, 2, 11, 3, (), False),
        (0, 2, 11, 3, (), True),
        (1, 2, 10, 3, (), True),  # the last chunk is full
        (1, 1, 12, 4, (), False),
        (2, 2, 9, 4, (), False),  # ends in the middle of a chunk, as do all below
        (2, 3, 7, 3, [2], False),
        (2, 3, 7, 3, [2], True),
        (3, 2, 7, 4, (), True),
        (2, 0, 7, 3, (), False),
    ],
)
def test_chunks_are_chained_as_it_is_told_plainly(net, overlap, motion, count, chunks, anchors, fades):
    weights = torch.rand(count, 3, generator=torch.Generator().manual_seed(9))
    settings = replace(QUICK, overlap=overlap, motion_frames=motion, weights=weights)
    noise = [torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed in range(chunks)]
    steady = {"steady": SeamFade(LIPS, FADED)} if fades else {}
    found = frames_of(chunks_of(net, settings, count=count, noise=noise, anchors=anchors, **steady))
    expected = (told_plainly(net, settings, count, noise, fades, anchors) + 1) / 2
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


# ---- beginning anew


def test_an_anchored_chunk_continues_the_portrait(net):
    """Given the same noise it is what a first chunk would be; those before it do not change."""
    noise = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    windows = small.windows(4).repeat(3, 1, 1, 1)
    clip = small.BlockCodec(), Schedule(), small.portrait(config=small.SHALLOW), windows, QUICK
    plain = list(animate(net, *clip, noise=[noise] * 3))
    anchored = list(animate(net, *clip, noise=[noise] * 3, anchors=[2]))
    assert torch.equal(anchored[1].latents, plain[1].latents)
    assert torch.equal(anchored[2].latents, anchored[0].latents)
    assert not torch.equal(plain[2].latents, plain[0].latents)


# ---- what is kept


@pytest.mark.parametrize("settings", [QUICK, replace(QUICK, overlap=1), replace(QUICK, motion_frames=3, overlap=2)])
@pytest.mark.parametrize("finished", [1, 2])
def test_going_on_from_kept_chunks(net, settings, finished):
    options = {"anchors": [2], "steady": lambda frames: frames.clamp(0.2, 0.7)}
    shelf, steps = Shelf(), []
    whole = chunks_of(net, settings, kept=shelf, **options)
    interrupted = Shelf({index: shelf[index] for index in range(finished)})
    again = chunks_of(net, settings, kept=interrupted, on_step=steps.append, **options)
    assert torch.equal(frames_of(again), frames_of(whole))
    assert interrupted.keys() == shelf.keys()
    assert [steps[0].done, steps[-1].done] == [finished * 2 + 1, len(whole) * 2]


def test_a_clip_that_is_kept_whole_needs_no_network(net):
    shelf = Shelf()
    whole = chunks_of(net, kept=shelf)

    def missing(network):
        raise AssertionError("a network was loaded")

    assert torch.equal(frames_of(chunks_of(net, kept=shelf, ready=missing)), frames_of(whole))
