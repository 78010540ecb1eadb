"""The puppet: what moves, what stays, and what it refuses."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from joyhallo.drawn.drawing import Look, Sitter
from joyhallo.drawn.drawing import Pose as Drawn
from joyhallo.faces.find import FaceError
from joyhallo.film.write import as_bytes, as_floats
from joyhallo.methods.puppet.blur import blur
from joyhallo.methods.puppet.face import Features
from joyhallo.methods.puppet.head import Moves
from joyhallo.methods.puppet.hearing import Articulation
from joyhallo.methods.puppet.inside import Palette, inside
from joyhallo.methods.puppet.life import blinks, head_moves
from joyhallo.methods.puppet.mouth import Lines, Shapes
from joyhallo.methods.puppet.perform import Direction, _place, part, perform, placed, poses
from joyhallo.methods.puppet.render import Pose, Puppet

SIZE = 256
SITTER = Sitter(Look(iris=(20, 90, 200)), SIZE)
PICTURE = torch.from_numpy(SITTER.picture().copy()).float() / 255


@pytest.fixture(scope="module")
def puppet() -> Puppet:
    return Puppet(PICTURE.permute(2, 0, 1), Features.of_mesh(SITTER.mesh()))


def pose(count: int = 1, **given) -> Pose:
    def row(name):
        return torch.as_tensor(given.get(name, 0.0), dtype=torch.float32).expand(count)

    mouth, head = (kind(*(row(field.name) for field in fields(kind))) for kind in (Shapes, Moves))
    return Pose(mouth, row("blink"), head)


def parted(frames: torch.Tensor) -> torch.Tensor:
    """(n): pixels that are neither skin nor lips, where mouths are"""
    red, _, blue = frames[:, :, 150:220, 90:170].unbind(1)
    return ((red - blue < 0.12) | (red < 0.5)).flatten(1).sum(1)


def speech(count: int = 60) -> Articulation:
    at = torch.arange(count) / 25
    opening = (torch.sin(2 * torch.pi * 3 * at) * 0.5 + 0.3).clamp(0, 1)
    loud = torch.where(at % 2 < 1.4, -20.0 + 6 * torch.sin(2 * torch.pi * 1.1 * at), -90.0)
    return Articulation(opening, opening * 0, opening * 0, opening * 0, opening * 0, loud)


def test_a_pose_without_movement_is_the_picture(puppet):
    (frame,) = puppet.frames(pose())
    torch.testing.assert_close(frame, puppet.still, atol=2e-4, rtol=0)


def test_the_mouth_opens_as_far_as_it_is_told(puppet):
    frames = puppet.frames(pose(5, opening=[0.0, 0.2, 0.4, 0.7, 1.0]))
    shut, *wider = (parted(frames) - parted(puppet.still[None])).tolist()
    assert abs(shut) < 10
    assert all(more > less + 20 for less, more in zip([shut, *wider], wider, strict=False))


def test_round_lips_are_narrow_and_spread_ones_wide(puppet):
    def width(**given):
        (frame,) = puppet.frames(pose(**given))
        red = frame[0] - frame[1]
        columns = (red[150:] > red.max() * 0.8).any(0).nonzero()
        return int(columns.max() - columns.min())

    assert width(spread=-1.0, rounding=1.0) < width() - 5 < width() < width(spread=1.0) - 2


def test_the_outline_of_a_turned_face_stays_when_lips_narrow():
    face = Features.of_mesh(SITTER.mesh())
    (edge, _), _ = face.mouth.in_pixels(np.array([[-1.3, 0.0], [0.0, 0.0]]))
    turned = replace(face, outline=np.stack([face.outline[:, 0].clip(min=edge), face.outline[:, 1]], axis=1))
    stripes = (torch.arange(SIZE) % 8 < 4).float().expand(3, SIZE, -1)
    puppet = Puppet(stripes, turned)
    (frame,) = puppet.frames(pose(spread=-1.0, rounding=1.0))
    level, edge = (
        round(face.mouth.middle[1]) - puppet.window.slices[0].start,
        round(edge) - puppet.window.slices[1].start,
    )
    moved = (frame - puppet.still)[0, level - 3 : level + 20].abs()
    assert moved[:, :edge].max() < 0.01 < 0.5 < moved[:, edge + 8 :].max()


def test_pressed_lips_are_thinner(puppet):
    def lips(**given):
        (frame,) = puppet.frames(pose(**given))
        red = frame[0] - frame[1]
        return int((red[150:] > 0.25).sum())

    assert lips(press=1.0) < 0.9 * lips()


def softened(picture: torch.Tensor) -> torch.Tensor:
    """Blurred by two pixels"""
    bell = torch.exp(-0.5 * (torch.arange(-6, 7) / 2) ** 2)
    weights = torch.outer(bell, bell) / bell.sum() ** 2
    return F.conv2d(F.pad(picture[:, None], (6, 6, 6, 6), "replicate"), weights[None, None])[:, 0]


def test_a_mouth_is_as_soft_as_its_picture(puppet):
    picture, face = PICTURE.permute(2, 0, 1), Features.of_mesh(SITTER.mesh())
    soft = softened(picture)
    sharp, blurred = (blur(one, face) * face.mouth.unit for one in (picture, soft))
    assert sharp < 0.5 < 0.8 < blurred
    assert blur(torch.full_like(picture, 0.5), face) * face.mouth.unit < 0.4

    def steepest(puppet):
        (frame,) = puppet.frames(pose(opening=0.6))
        return float(frame[:, 150:220, 90:170].diff(dim=1).abs().max())

    assert steepest(Puppet(soft, face)) < 0.6 * steepest(puppet)


def test_a_grey_picture_opens_a_grey_mouth():
    grey = PICTURE.permute(2, 0, 1).mean(0).expand(3, -1, -1)
    (frame,) = Puppet(grey, Features.of_mesh(SITTER.mesh())).frames(pose(opening=0.8))
    assert (frame.amax(0) - frame.amin(0)).max() < 0.02


def test_teeth_take_the_light_of_the_picture():
    picture, face = PICTURE.permute(2, 0, 1), Features.of_mesh(SITTER.mesh())
    usual, warm = (
        Palette.of(light[:, None, None] * picture, face, Lines.of(face)).teeth
        for light in (torch.ones(3), torch.tensor([1.0, 0.8, 0.5]))
    )
    assert 1.2 < (warm / usual)[0] / (warm / usual)[2] < 2


def test_teeth_are_dimmer_between_lips_that_hardly_part(puppet):
    lines = puppet.mouth.lines
    place = torch.tensor([0.1, float(lines.meeting[80])]).reshape(1, 2, 1, 1)

    def seen(over):
        depth = torch.tensor([0.05, over]).reshape(1, 2, 1, 1)
        return inside(lines, puppet.palette, place, depth, *torch.zeros(2, 1)).mean()

    assert seen(0.05) < 0.85 * seen(0.5)


def test_a_faded_picture_opens_a_faded_mouth():
    faded = 0.4 + 0.4 * PICTURE.permute(2, 0, 1)
    (frame,) = Puppet(faded, Features.of_mesh(SITTER.mesh())).frames(pose(opening=0.8))
    assert frame[:, 150:220, 90:170].min() > 0.38


def test_lips_that_were_parted_meet_without_steps():
    """At a slanting seam, pixels are as much of one lip as of the other."""
    shown = Drawn(opening=0.5)
    picture = torch.from_numpy(SITTER.picture(shown).copy()).permute(2, 0, 1).float() / 255
    face = Features.of_mesh(SITTER.mesh(shown))
    # Whatever hangs from above is black, and what follows the jaw is white.
    middle = round(float(face.mouth.in_pixels((face.inner_upper + face.inner_lower) / 2)[5, 1]))
    picture[:, :middle], picture[:, middle:] = 0.0, 1.0
    puppet = Puppet(picture, face)
    assert puppet.mouth.lines.parted
    (frame,) = puppet.frames(pose())
    seam = frame[0, middle - 12 : middle + 12, 118:138]
    assert ((seam > 0.1) & (seam < 0.9)).float().mean() > 0.02


def test_lids_cover_the_eyes(puppet):
    def iris(blink):
        (frame,) = puppet.frames(pose(blink=blink))
        return int(((frame[2] - frame[0]) > 0.3)[:150].sum())

    assert iris(0.0) > iris(0.5) > 0.2 * iris(0.0)
    assert iris(1.0) == 0


def test_make_up_is_not_drawn_over_the_eye():
    picture, face = PICTURE.permute(2, 0, 1).clone(), Features.of_mesh(SITTER.mesh())
    eye = face.eyes[0]
    line = eye.frame.in_pixels(eye.upper)
    (left, above), (right, level) = line.min(0).round().astype(int), line.max(0).round().astype(int)
    picture[:, above - 5 : level, left : right + 1] *= 0.2
    puppet = Puppet(picture, face)
    (frame,) = puppet.frames(pose(blink=1.0))
    x, y = (eye.frame.middle - (puppet.window.left, puppet.window.top)).round().astype(int)
    below = picture[:, level + 12 : level + 18, left:right]
    assert frame[:, y - 2 : y + 3, x - 4 : x + 5].mean() > 0.75 * below.mean()


def test_gloss_of_parted_lips_is_hidden_when_they_shut():
    sitter, shown = Sitter(Look(), 2 * SIZE), Drawn(opening=0.5)
    picture = torch.from_numpy(sitter.picture(shown).copy()).permute(2, 0, 1).float() / 255
    face = Features.of_mesh(sitter.mesh(shown))
    inner, outer = (round(face.mouth.in_pixels(line)[5, 1]) for line in (face.inner_lower, face.outer_lower))
    picture[:, inner : inner + (outer - inner) // 4, 244:268] = torch.tensor([0.0, 1.0, 0.0])[:, None, None]

    def glossy(opening):
        (frame,) = Puppet(picture, face).frames(pose(opening=opening))
        return int((frame[1] - frame[0] > 0.5).sum())

    assert glossy(0.0) < 0.2 * glossy(0.6)


@pytest.mark.parametrize("name", [field.name for field in fields(Moves)])
def test_every_movement_of_the_head_is_seen_and_nothing_moves_at_the_border(puppet, name):
    far = {"brows": 1.0, "breath": 0.02}.get(name, 0.04)
    still = pose()
    (frame,) = puppet.frames(replace(still, head=replace(still.head, **{name: torch.tensor([far])})))
    changed = (frame - puppet.still).abs().amax(0)
    assert changed.max() > 0.1
    whole = torch.zeros(SIZE, SIZE)
    whole[puppet.window.slices] = changed
    assert max(whole[0].max(), whole[-1].max(), whole[:, 0].max(), whole[:, -1].max()) < 1e-3


def test_frames_do_not_depend_on_what_they_are_made_with(puppet):
    whole = poses(speech(), Direction(seed=1))
    together = torch.cat([chunk.frames for chunk in perform(puppet, whole)])
    alone = puppet.frames(part(whole, slice(31, 32), torch.device("cpu")))
    torch.testing.assert_close(together[31:32], alone, atol=1e-4, rtol=0)  # far below a level of 255


def test_whole_pictures_keep_what_does_not_move():
    still = torch.randint(0, 256, (300, 320, 3), dtype=torch.uint8)
    still[20 : 20 + SIZE, 30 : 30 + SIZE] = as_bytes(PICTURE)
    puppet = Puppet(as_floats(still).permute(2, 0, 1), Features.of_mesh(SITTER.mesh() + np.array([30, 20])))
    (chunk, *_) = perform(puppet, poses(speech(), Direction()))
    made = torch.cat([*placed(puppet, still, chunk)])
    beside = torch.ones(300, 320, dtype=torch.bool)
    beside[puppet.window.slices] = False
    assert beside.any()
    assert torch.equal(made[:, beside], still[beside].expand(len(made), -1, -1))
    assert not torch.equal(made[5], still)


# ---- masks


def masks() -> tuple[np.ndarray, np.ndarray]:
    red = (SITTER.picture()[..., 0].astype(int) - SITTER.picture()[..., 1]) > 75
    lips, face = np.zeros((SIZE, SIZE), np.uint8), np.zeros((SIZE, SIZE), np.uint8)
    lips[160:190] = red[160:190] * 255
    y, x = np.mgrid[:SIZE, :SIZE]
    face[((x - 128) / 52) ** 2 + ((y - 136) / 76) ** 2 < 1] = 255
    return lips, face


def test_masks_will_do_for_a_mouth():
    lips, face = masks()
    puppet = Puppet(PICTURE.permute(2, 0, 1), Features.of_masks(lips, face))
    frames = puppet.frames(pose(3, opening=[0.0, 0.4, 0.8], blink=[0.0, 0.5, 1.0]))
    shut, ajar, wide = (parted(frames) - parted(puppet.still[None])).tolist()
    assert abs(shut) < 10 < ajar < wide
    head = slice(0, 60)
    torch.testing.assert_close(frames[2, :, head], puppet.still[:, head], atol=2e-4, rtol=0)  # eyes that are not known


@pytest.mark.parametrize(("which", "said"), [(0, "lips is empty"), (1, "face is empty")])
def test_empty_masks_are_refused(which, said):
    both = list(masks())
    both[which] = np.zeros_like(both[which])
    with pytest.raises(FaceError, match=said):
        Features.of_masks(*both)


def test_a_face_that_ends_above_the_chin_is_refused():
    lips, face = masks()
    face[165:] = 0
    with pytest.raises(FaceError, match="down to the chin"):
        Features.of_masks(lips, face)


def test_a_tiny_mouth_is_refused():
    with pytest.raises(FaceError, match="too small to speak"):
        Features.of_mesh(SITTER.mesh() / 40)


# ---- life


def test_the_same_seed_lives_the_same_life():
    one, same, other = (poses(speech(500), Direction(seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(one.head.stacked(), same.head.stacked())
    assert torch.equal(one.blink, same.blink)
    assert not torch.equal(one.head.yaw, other.head.yaw)
    assert not torch.equal(one.blink, other.blink)


def test_it_begins_as_the_picture_and_stays_near():
    moves = poses(speech(2000), Direction()).head.stacked()
    assert moves[0].abs().max() < 1e-6
    assert moves[:, :6].abs().max() < 1.2
    assert moves[:, 2:5].abs().max() < 0.15  # radians
    assert moves[:, 0].std() > 1e-3


def test_blinks_come_as_often_as_wished():
    loud = speech(5000).loudness

    def count(often):
        shut = blinks(loud, torch.full((5000,), often), 3) > 0.9
        return int((shut[1:] & ~shut[:-1]).sum())

    assert count(0.0) == 0
    assert 25 < count(1.0) < 90  # in 200 seconds
    assert count(2.0) > 1.4 * count(1.0)
    half = torch.cat([torch.zeros(2500), torch.ones(2500)])
    assert (blinks(loud, half, 3)[:2500] == 0).all()


def test_heads_nod_and_brows_rise_on_stressed_words():
    loudness = torch.full((200,), -30.0)
    loudness[98:106] = -14.0
    moves = head_moves(loudness, torch.zeros(200), torch.ones(200), 0)
    assert moves.pitch[95:110].max() > 3 * moves.pitch[30:80].abs().max()
    assert head_moves(loudness, torch.zeros(200), torch.zeros(200), 0).stacked().abs().max() == 0


def test_strength_scales_the_mouth():
    heard = speech()
    weak, strong = (poses(heard, Direction(strength=strength)).mouth.opening for strength in (0.5, 1.5))
    torch.testing.assert_close(weak * 3, strong)
    fading = poses(heard, Direction(strength=torch.linspace(0, 1, len(heard)))).mouth.opening
    assert fading[0] == 0
    assert fading[-1] == heard.opening[-1]


def test_pictures_of_bytes_as_a_graphics_card_hands_them_over_are_placed_alike():
    frame, places = torch.rand(3, 70, 50), [np.zeros((70, 50, 3), np.uint8) for _ in range(2)]
    for made, values in zip(places, (frame, as_bytes(frame[None])[0]), strict=True):
        _place(made, values.numpy())
    assert places[0].any()
    assert np.array_equal(*places)
