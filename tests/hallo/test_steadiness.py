"""Holding and measuring, against numpy, scipy and pictures of which the truth is known."""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.ndimage
import small
import torch

from joyhallo.diffusion.schedule import Schedule
from joyhallo.film.plot import SIZE
from joyhallo.methods.hallo.masks import pixels, pyramid, soft_masks
from joyhallo.methods.hallo.sampling import Portrait, Settings, animate
from joyhallo.methods.hallo.steadiness import (
    GAINS,
    PANEL,
    PANELS,
    SHIFT,
    ColourHold,
    DriftMeter,
    SeamFade,
    Steadiness,
    Structure,
    drift_plot,
    face_outside_lips,
    outside_lips,
    seam_fade,
)
from joyhallo.sound.pauses import anchors
from tools.pictures import portrait as drawing

PX = 128
EVERYWHERE = torch.ones(PX, PX)


def close(a, b, atol=1e-5):
    torch.testing.assert_close(a, b, rtol=0, atol=atol)


@pytest.fixture(scope="module")
def drawn() -> Portrait:
    """The demo's face, with the regions it is drawn with."""
    face, lips = (np.array(drawing.mask(box)) for box in (drawing.face_box(), drawing.lip_box()))
    picture = pixels(np.array(drawing.portrait()), (PX, PX))
    locator = torch.from_numpy(face)[::4, ::4].expand(3, -1, -1) / 255
    return Portrait(picture, torch.zeros(512), locator, pyramid(soft_masks(face, lips), (PX, PX)))


@pytest.fixture(scope="module")
def still(drawn) -> torch.Tensor:
    """Its picture, with room to both sides of every channel; shaded, as the walls behind people are."""
    return drawn.picture * 0.3 + torch.linspace(0.56, 0.44, PX)[:, None]


def repeated(picture: torch.Tensor, count: int = 16) -> torch.Tensor:
    return picture.expand(count, -1, -1, -1).clone()


def speckled(count: int = 16, seed: int = 0, px: int = PX) -> torch.Tensor:
    return torch.rand(count, 3, px, px, generator=torch.Generator().manual_seed(seed))


def along(start: float, end: float, count: int = 16) -> torch.Tensor:
    return torch.linspace(start, end, count)[:, None, None, None]


# ---- where it is looked


def test_the_lips_have_no_weight_and_the_rest_has(drawn):
    weights = outside_lips(drawn)
    rows, columns = drawing.lip_box().scaled(PX / drawing.SIDE).inset(2).slices
    assert weights.shape == (PX, PX)
    assert (weights[rows, columns] == 0).all()
    assert weights[: PX // 3].mean() > 0.9
    face = face_outside_lips(drawn)
    assert (face[rows, columns] == 0).all()
    assert (face[:, : int(drawing.face_box().left) // 4 - 1] == 0).all()
    assert face[48, 64] > 0.9


# ---- colours


def test_the_first_chunk_is_the_same_tensor():
    frames = speckled()
    assert ColourHold(EVERYWHERE)(frames) is frames


@pytest.mark.parametrize("count", [3, 16])
def test_a_course_of_colours_is_taken_back(still, count):
    """Gains and offsets of their own for each channel, which grow over the chunk: what comes back is the truth."""
    hold, truth = ColourHold(EVERYWHERE), repeated(still, count)
    hold(repeated(still))
    mean = still.mean((1, 2))[:, None, None]
    gain = torch.cat([along(math.log(a), math.log(b), count) for a, b in ((1, 1.1), (1.05, 0.9), (0.9, 0.95))], 1).exp()
    offset = torch.cat([along(a, b, count) for a, b in ((0, 0.05), (-0.04, 0.01), (0.03, 0.03))], 1)
    drifted = (truth - mean) * gain + mean + offset
    assert (drifted - truth).abs().max() > 0.04
    close(hold(drifted), truth)


@pytest.mark.parametrize("count", [1, 2])
def test_few_frames_share_one_correction(still, count):
    hold = ColourHold(EVERYWHERE)
    hold(repeated(still))
    offset = along(0.02, 0.04, count) if count > 1 else torch.tensor(0.03)
    found = hold(repeated(still, count) + offset)
    close(found, repeated(still, count) + offset - 0.03)


def test_the_correction_is_numpys_line_over_the_chunk(still):
    """What each frame gained at random, less the line through it, remains."""
    hold, random, time = ColourHold(EVERYWHERE), np.random.default_rng(5), np.arange(16)
    hold(repeated(still))
    gain, offset = random.normal(0, 0.03, (16, 3)), random.normal(0, 0.02, (16, 3))
    mean = still.mean((1, 2)).numpy()[:, None, None]
    drifted = (still.numpy() - mean) * np.exp(gain)[..., None, None] + mean + offset[..., None, None]
    found = hold(torch.from_numpy(drifted).float()).numpy()
    for channel in range(3):
        gained, moved = (np.polyval(np.polyfit(time, x[:, channel], 1), time)[:, None, None] for x in (gain, offset))
        held = (drifted[:, channel] - mean[channel] - moved) * np.exp(-gained) + mean[channel]
        np.testing.assert_allclose(found[:, channel], held, atol=2e-5)


@pytest.mark.parametrize("thing", [(40, 40, 0.05), (90, 50, 0.1), (60, 40, 0.95)], ids=("dark", "large", "bright"))
@pytest.mark.parametrize("wall", ["shaded", "flat"])
def test_what_moves_is_no_change_of_colour(still, drawn, wall, thing):
    """Something crosses the picture: the means change, and nothing is to be corrected but what drifted."""
    still = still if wall == "shaded" else drawn.picture * 0.3 + 0.5
    truth, (height, width, brightness) = repeated(still), thing
    for frame in range(16):
        truth[frame, :, 20 : 20 + height, 4 * frame : 4 * frame + width] = brightness
    assert (truth[0].mean((1, 2)) - truth[15].mean((1, 2))).abs().max() > 0.02
    assert (truth.mean((2, 3)) - still.mean((1, 2))).abs().max() > 0.05
    hold = ColourHold(EVERYWHERE)
    hold(repeated(still))
    close(hold(truth), truth, atol=4e-3)
    mean = still.mean((1, 2))[:, None, None]
    for gain, shift in ((0.9, 0.03), (1.1, -0.03)):
        close(hold((truth - mean) * gain + mean + shift), truth, atol=4e-3)


@pytest.mark.parametrize("grain", [0.5, 0.05])
def test_the_first_chunk_again_is_as_it_was(still, grain):
    """Its frames have more contrast than their average, with which later ones are compared: that is no drift."""
    hold, frames = ColourHold(EVERYWHERE), still + grain * (speckled() - 0.5)
    for frame in range(16):
        frames[frame, :, :, 2 * frame : 4 * frame + 30] *= 0.7
    hold(frames)
    found = hold(frames.clone())
    close(found.mean((0, 2, 3)), frames.mean((0, 2, 3)), atol=1e-3)
    close(found.std((2, 3)).log().mean(0), frames.std((2, 3)).log().mean(0), atol=5e-3)


def test_what_changes_from_frame_to_frame_stays(still):
    """A flicker is the picture's own: no correction may add one, nor take one away."""
    hold, flicker = ColourHold(EVERYWHERE), 0.02 * (-1.0) ** torch.arange(16)[:, None, None, None]
    hold(repeated(still))
    changes = (hold(repeated(still) + flicker + 0.05) - repeated(still))[:, 0].mean((1, 2))
    assert (changes.diff().abs() - 0.04).abs().max() < 2e-3


def test_lips_say_nothing_of_colour(still, drawn):
    weights, open_mouth = outside_lips(drawn), repeated(still) + 0.03
    speaking = open_mouth.clone()
    speaking[:, :, weights == 0] *= torch.rand(16, 1, 1)
    found = []
    for frames in (open_mouth, speaking):
        hold = ColourHold(weights)
        hold(repeated(still))
        found.append(hold(frames)[:, :, weights > 0])
    assert torch.equal(*found)
    close(found[0], repeated(still)[:, :, weights > 0])


def test_another_picture_is_not_forced(still):
    hold = ColourHold(EVERYWHERE)
    hold(repeated(still))
    close(hold(repeated(still) - 0.25), repeated(still) - 0.25 + SHIFT)
    mean = still.mean((1, 2), keepdim=True)
    close(hold(repeated((still - mean) * 0.5 + mean)), repeated((still - mean) * 0.5 * GAINS[1] + mean))


def test_drift_that_feeds_back_does_not_add_up(still):
    """Each chunk is a little redder and duller than the frames it follows."""

    def chain(hold) -> torch.Tensor:
        last = still
        for _ in range(40):
            mean = last.mean((1, 2), keepdim=True)
            made = (repeated(last) - mean) * 0.985 + mean + torch.tensor([0.01, 0.0, -0.005])[:, None, None]
            last = hold(made)[-1]
        return last

    hold = ColourHold(EVERYWHERE)
    hold(repeated(still))
    assert (chain(lambda frames: frames) - still).abs().mean() > 0.1
    close(chain(hold), still, atol=1e-3)


def test_the_reference_can_be_handed_on(still):
    hold, later = ColourHold(EVERYWHERE), ColourHold(EVERYWHERE)
    hold(repeated(still))
    later.reference = hold.reference
    assert torch.equal(hold(repeated(still) * 0.9), later(repeated(still) * 0.9))


def test_a_portrait_without_regions(still, drawn):
    """Its lips are everywhere: then everything counts."""
    weights = outside_lips(replace(drawn, masks=[torch.ones_like(mask) for mask in drawn.masks]))
    assert (weights == 0).all()
    hold = ColourHold(weights)
    hold(repeated(still))
    close(hold(repeated(still) + 0.05), repeated(still))


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_pictures_of_one_colour(value):
    hold, meter = ColourHold(EVERYWHERE), DriftMeter(EVERYWHERE, EVERYWHERE)
    for other in (value, 0.9 * value + 0.05):
        frames = hold(torch.full((4, 3, PX, PX), other))
        assert frames.isfinite().all()
        assert all(math.isfinite(figure) for name, figure in vars(meter(frames)).items() if name != "seam")


# ---- joints


def test_lips_are_left_alone_bit_for_bit(drawn):
    lips, frames = 1 - outside_lips(drawn), speckled(seed=1)
    found = seam_fade(speckled(1, seed=2)[0], frames, lips, 6)
    assert torch.equal(found[:, :, lips == 1], frames[:, :, lips == 1])
    assert not torch.equal(found[:6, :, lips == 0], frames[:6, :, lips == 0])
    assert torch.equal(found[6:], frames[6:])


def test_an_offset_fades_out_evenly(still):
    """From the joint on each frame differs from the one before it by the same share of the offset."""
    truth = repeated(still, 8)
    found = seam_fade(still, truth + 0.08, torch.zeros(PX, PX), 3)
    close(found - truth, along(0.02, 0.08, 4)[[0, 1, 2, *[3] * 5]].expand(8, 3, PX, PX))


@pytest.mark.parametrize("count", [3, 6])  # 6: a chunk ends before its joint has faded out
def test_it_goes_on_from_chunk_to_chunk(still, count):
    fade, lips = SeamFade(torch.zeros(PX, PX), count), torch.zeros(PX, PX)
    first, *chunks = [repeated(still, 4) + offset for offset in (0, 0.08, -0.03)]
    assert fade(first) is first
    last = first[-1]
    for chunk in chunks:
        expected = seam_fade(last, chunk, lips, count)
        assert torch.equal(fade(chunk), expected)
        last = expected[-1]


def test_what_fades_stays_in_range():
    course = torch.tensor([0.5, 0.98, 0.02])[:, None, None, None].expand(-1, 3, PX, PX)
    for last in (0.9, 0.1):
        found = seam_fade(torch.full((3, PX, PX), last), course, torch.zeros(PX, PX), 3)
        assert found.min() >= 0
        assert found.max() <= 1


def test_a_fade_longer_than_the_chunk(still):
    found = seam_fade(still, repeated(still, 2) + 0.1, torch.zeros(PX, PX), 4)
    close(found, repeated(still, 2) + torch.tensor([0.02, 0.04])[:, None, None, None])


# ---- all of it


def test_colours_are_held_before_joints_fade_and_lips_stay_out_of_both(still, drawn):
    steady = Steadiness(hold_colours=True, fade=3).steady(drawn)
    hold, fade = ColourHold(outside_lips(drawn)), SeamFade(1 - outside_lips(drawn), 3)
    for number, offset in enumerate((0, 0.04, -0.03)):
        frames = repeated(still, 4) + offset + 0.02 * (speckled(4, seed=number) - 0.5)
        assert torch.equal(steady(frames.clone()), fade(hold(frames)))


def test_by_default_nothing_is_done(drawn):
    frames = speckled(4)
    assert Steadiness().steady(drawn)(frames) is frames
    assert Steadiness().anchors(torch.zeros(400), range(0, 400, 16)) == []


def test_anchors_are_set_after_seconds():
    heard = torch.rand(1000, generator=torch.Generator().manual_seed(1)) * 40 - 50
    starts = range(0, 1000, 16)
    found = Steadiness(anchor_every=4.0).anchors(heard, starts)
    assert found == anchors(heard, starts, 100)  # frames, of which a second has 25
    assert len(found) > 3


# ---- figures


def measured(*chunks: torch.Tensor, weights=EVERYWHERE):
    meter = DriftMeter(weights, weights)
    return [meter(chunk) for chunk in chunks]


def test_the_figures_of_the_first_chunk(still):
    drift = measured(repeated(still))[0]
    assert (drift.colour, drift.contrast, drift.sharpness) == (0, 1, 1)
    assert drift.identity == pytest.approx(0, abs=1e-4)
    assert math.isnan(drift.seam)


def test_figures_are_numpys_and_scipys():
    first, second = speckled(8, seed=1), 0.7 * speckled(5, seed=2) + 0.2
    drift = measured(first, second)[1]
    energies = [
        np.mean([scipy.ndimage.laplace(frame.mean(0))[1:-1, 1:-1] ** 2 for frame in frames[::3].double().numpy()])
        for frames in (first, second)
    ]
    assert drift.sharpness == pytest.approx(energies[1] / energies[0], rel=1e-4)
    a, b = (frames[..., ::2, ::2].double().numpy() for frames in (first, second))  # the others are as any
    assert drift.colour == pytest.approx(255 * np.abs(a.mean((0, 2, 3)) - b.mean((0, 2, 3))).mean(), abs=1e-3)
    spreads = [np.log(frames.std((2, 3))).mean() for frames in (a, b)]
    assert drift.contrast == pytest.approx(np.exp(spreads[1] - spreads[0]), abs=1e-5)
    inside = np.concatenate([np.abs(np.diff(frames, axis=0)).mean((1, 2, 3)) for frames in (a, b)])
    assert drift.seam == pytest.approx(np.abs(b[0] - a[-1]).mean() / np.median(inside), rel=1e-4)


def test_blur_is_less_sharp(still):
    blurred = [scipy.ndimage.gaussian_filter(still.numpy(), (0, width, width)) for width in (0.3, 0.5, 1, 2)]
    found = [drift.sharpness for drift in measured(repeated(still), *(repeated(torch.from_numpy(b)) for b in blurred))]
    assert found == sorted(found, reverse=True)
    assert found[-1] < 0.1 < found[2] < 0.99


def test_lips_do_not_count(still, drawn):
    weights, speaking = outside_lips(drawn), repeated(still)
    speaking[:, :, weights == 0] = 0
    meter = DriftMeter(weights, face_outside_lips(drawn))
    meter(repeated(still))
    found = meter(speaking)
    assert found.colour < 1e-3
    assert found.contrast == pytest.approx(1, abs=1e-5)
    assert found.sharpness < 1.2  # the new edges are those of the region itself
    assert found.identity < 0.05


def test_another_face_differs_more_than_a_moved_one(drawn, still):
    """Moved by two pixels, darker, flatter, with other lips: it is still the same face; others are not."""
    face, frames = face_outside_lips(drawn), repeated(still)
    structure = Structure(face, frames)
    same = [frames, frames.roll((2, -2), (2, 3)), frames.roll(2, 3), frames * 0.7, frames * 0.5 + 0.25]
    shifted = max(structure.difference(other) for other in same)
    others = [frames.flip(2), frames.roll(30, 2), speckled(seed=3), frames.flip(3).roll(16, 3)]
    assert shifted < 0.1
    assert min(structure.difference(other) for other in others) > 3 * shifted
    mixed = [structure.difference(frames + share * (frames.flip(2) - frames)) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert mixed == sorted(mixed)


def test_a_jump_shows_at_the_joint():
    """Steady movement all along has the figure 1, and a jump of five steps has 5."""
    course = torch.linspace(0, 0.5, 40)[:, None, None, None].expand(-1, 3, PX, PX)
    stutter = [*range(20, 28), *range(20, 28)]  # an odd jump within a chunk is nothing usual
    steady = measured(course[:16], course[16:32])[1]
    jumped = measured(course[:16], course[stutter])[1]
    assert steady.seam == pytest.approx(1, abs=1e-3)
    assert jumped.seam == pytest.approx(5, abs=1e-3)


def test_chunks_of_one_frame():
    course = torch.linspace(0, 0.5, 8)[:, None, None, None].expand(-1, 3, PX, PX)
    found = measured(course[:5], course[5:6], course[6:7])
    assert [drift.seam for drift in found[1:]] == pytest.approx([1, 1], abs=1e-3)
    assert math.isnan(measured(course[:1], course[1:2])[1].seam)


# ---- told and drawn


def test_the_summary_names_the_worst(still):
    meter = DriftMeter(EVERYWHERE, EVERYWHERE)
    assert "nothing can drift" in meter.summary()
    for offset in (0, 0.02, 0.08, 0.04):
        meter(repeated(still) + offset)
    assert "20.4 of 255 levels (farthest at 1.28 s)" in meter.summary()
    assert "contrast 1.00 to 1.00" in meter.summary()


def test_the_plot_has_a_panel_for_each_figure(still):
    meter = DriftMeter(EVERYWHERE, EVERYWHERE)
    for offset in (0, 0.02):
        meter(repeated(still) + offset)
    assert meter.plot().shape == (len(PANELS) * PANEL[1], PANEL[0], 3)
    both = drift_plot({"held": meter, "as it came": meter})
    assert both.shape == meter.plot().shape
    assert PANEL[0] == SIZE[0]


def test_small_networks_portraits_have_such_regions():
    assert outside_lips(small.portrait(128, 64)).shape == (64, 128)


def test_a_held_clip_begins_as_the_plain_one_does():
    """Through the sampler: the first chunk bit for bit, the later ones corrected before they are continued."""
    net, portrait = small.net(), small.portrait()

    def clip(**more) -> list[torch.Tensor]:
        settings = Settings(steps=1, chunk_frames=4)
        chunks = animate(net, small.BlockCodec(), Schedule(), portrait, small.windows(12), settings, **more)
        return [chunk.frames for chunk in chunks]

    plain, held = clip(), clip(steady=ColourHold(outside_lips(portrait)))
    meter, other = (DriftMeter(outside_lips(portrait), face_outside_lips(portrait)) for _ in range(2))
    assert torch.equal(held[0], plain[0])
    assert not torch.equal(held[2], plain[2])
    drifts = [(meter(a).colour, other(b).colour) for a, b in zip(held, plain, strict=True)]
    assert sum(a for a, _ in drifts) < 0.5 * sum(b for _, b in drifts)
