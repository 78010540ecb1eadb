"""Crops of a picture for the model (`crop_face`, `crop_whole`) and `paste`, which puts frames back; none stretch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from .boxes import Box, Picture, Points, Size, whole
from .regions import resized

SMALLEST_FACE, FACE, LARGEST_FACE = 0.5, 0.6, 0.7  # longest side of the face over the frame's side
CROPPED_AT_MOST = 0.1  # of a side, when the whole picture is used
MULTIPLE = 64  # the frames' sides must be multiples of this
FEATHER = 0.08  # of the crop's shortest side
STILL = 0.1  # change of brightness, in 0..1, beyond which a place counts as moved


@dataclass(frozen=True)
class Crop:
    """A crop of a picture, scaled to another size. It has whole pixels and may reach beyond the borders."""

    picture: Size
    box: Box
    size: Size

    @property
    def inside(self) -> Box:
        return self.box.within(whole(self.picture))

    @property
    def seen(self) -> Size:
        """The size of the crop in the picture's pixels."""
        return int(self.box.width), int(self.box.height)

    def at(self, size: Size) -> Crop:
        """The same crop at another size."""
        _check_size(size)
        (width, height), (across, down) = self.seen, size
        if abs(width * down - height * across) > max(size):  # allows for the rounding of both sides
            raise ValueError(
                f"The crop of {width}x{height} pixels would have to be stretched to frames of {across}x{down}; choose "
                "frames of its aspect ratio, or prepare the portrait for that of the frames."
            )
        return replace(self, size=size)


# ---- choosing the crop


def crop_face(picture: Size, face: Box, size: Size = (512, 512)) -> Crop:
    """A crop around the face, which takes 50 to 70 % of the crop's shorter side.

    A picture of the right aspect ratio with such a face is used whole. Otherwise the crop is moved, and tightened
    within these limits, to stay in the picture; only a face too large for that gets a border.
    """
    _check_size(size)
    shape = _shape(picture, size)
    if shape == picture and SMALLEST_FACE <= face.longest / min(picture) <= LARGEST_FACE:
        return Crop(picture, whole(picture), size)
    shorter = max(2, round(face.longest / FACE))
    if shorter > min(shape):
        shorter = max(min(shape), math.ceil(face.longest / LARGEST_FACE))
    width, height = (round(side * shorter / min(size)) for side in size)
    x, y = face.center
    left, top = _placed(x, width, picture[0]), _placed(y, height, picture[1])
    return Crop(picture, Box(left, top, left + width, top + height), size)


def _shape(picture: Size, size: Size) -> Size:
    """The largest crop with the aspect ratio of `size` in the picture."""
    scale = min(picture[0] / size[0], picture[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _placed(center: float, length: int, limit: int) -> int:
    """The start of a crop, centred as far as the picture allows, and not beyond a border that it can avoid."""
    start = round(center - length / 2)
    low, high = min(0, limit - length), max(0, limit - length)
    return min(max(start, low), high)


def crop_whole(picture: Size, size: Size) -> Crop:
    """The whole picture, less a few per cent of one side to match the aspect ratio of `size`."""
    _check_size(size)
    width, height = picture
    window = _shape(picture, size)
    if min(window[0] / width, window[1] / height) < 1 - CROPPED_AT_MOST:
        near = fitting(picture, max(size))
        raise ValueError(
            f"The whole picture is {width}x{height} pixels, and frames of {size[0]}x{size[1]} would stretch or cut "
            f"it; frame the face, crop the picture to that aspect ratio, or choose frames of {near[0]}x{near[1]}."
        )
    left, top = (width - window[0]) // 2, (height - window[1]) // 2
    return Crop(picture, Box(left, top, left + window[0], top + window[1]), size)


def fitting(picture: Size, longest: int) -> Size:
    """The valid frame size nearest to the picture's aspect ratio."""
    scale = longest / max(picture)
    width, height = (max(MULTIPLE, round(side * scale / MULTIPLE) * MULTIPLE) for side in picture)
    return width, height


def _check_size(size: Size) -> None:
    if any(side < MULTIPLE or side % MULTIPLE for side in size):
        width, height = (max(MULTIPLE, round(side / MULTIPLE) * MULTIPLE) for side in size)
        raise ValueError(
            f"The frames are {size[0]}x{size[1]}, but sides must be multiples of {MULTIPLE}; try {width}x{height}."
        )


# ---- cutting out and pasting back


def cut(picture: NDArray[np.uint8], crop: Crop) -> NDArray[np.uint8]:
    """The crop of a picture or of a mask, in the picture's pixels; the border is repeated beyond it."""
    if picture.shape[1::-1] != crop.picture:
        found = "x".join(map(str, picture.shape[1::-1]))
        raise ValueError(f"The crop belongs to a picture of {crop.picture[0]}x{crop.picture[1]}, not of {found}.")
    rows = np.arange(crop.box.top, crop.box.bottom).clip(0, picture.shape[0] - 1).astype(int)
    columns = np.arange(crop.box.left, crop.box.right).clip(0, picture.shape[1] - 1).astype(int)
    return picture[rows[:, None], columns]


def in_crop(points: Points, crop: Crop) -> Points:
    return points - np.array([crop.box.left, crop.box.top])


def paste(
    frames: Tensor,
    picture: Picture,
    crop: Crop,
    onto: Tensor | None = None,
    clear_of: Sequence[Box] = (),
    face: Box | None = None,
) -> Tensor:
    """Paste frames (n, 3, height, width) in 0..1 into the picture -> (n, 3, picture height, picture width).

    The seam is feathered, except where it is the picture's own border, and each frame's colours are shifted to agree
    with the picture along it. Where nothing moved, the picture's finer detail is kept.

    onto (n, 3, picture height, picture width): a video to paste into instead of the picture. clear_of: other faces
    to leave untouched: the frames end half-way between these and their own `face`, by default the crop's middle.
    """
    if tuple(frames.shape[1:]) != (3, *crop.size[::-1]):
        raise ValueError(
            f"The frames have the shape {tuple(frames.shape)}; this crop gives (n, 3, {crop.size[1]}, {crop.size[0]})."
        )
    frames = frames.float()
    result = _around(frames, picture, onto)
    there, here = crop.inside.slices, crop.inside.moved(-crop.box.left, -crop.box.top).slices
    enlarged = _enlarged(_recolored(frames, picture, crop), cut(picture, crop))
    place, weight = result[(..., *there)], feather(crop)
    for other in clear_of:
        weight = weight * half(crop, face or _middle(crop.box), other)
    place += weight.to(frames)[here] * (enlarged[(..., *here)].clamp(0, 1) - place)
    return result


def _around(frames: Tensor, picture: Picture, onto: Tensor | None) -> Tensor:
    if onto is None:
        return _as_tensor(picture, frames).expand(len(frames), -1, -1, -1).clone()
    expected = (len(frames), 3, *picture.shape[:2])
    if tuple(onto.shape) != expected:
        raise ValueError(
            f"The background has the shape {tuple(onto.shape)}; expected {expected}: as many frames, as large as the "
            "picture in which the face was found."
        )
    return onto.to(frames, copy=True)


def _middle(window: Box) -> Box:
    margin = (1 - FACE) / 2
    return Box(
        window.left + margin * window.width,
        window.top + margin * window.height,
        window.right - margin * window.width,
        window.bottom - margin * window.height,
    )


def half(crop: Crop, own: Box, other: Box) -> Tensor:
    """Weight over the crop (height, width): 1 on the own side of the middle between two faces, 0 beyond it."""
    window = crop.box
    gap, side_by_side = max(
        (max(other.left - own.right, own.left - other.right), True),
        (max(other.top - own.bottom, own.top - other.bottom), False),
    )
    if side_by_side:
        places, mine, theirs = (
            window.left + torch.arange(window.width),
            (own.left, own.right),
            (other.left, other.right),
        )
    else:
        places, mine, theirs = (
            window.top + torch.arange(window.height),
            (own.top, own.bottom),
            (other.top, other.bottom),
        )
    after = sum(theirs) > sum(mine)
    middle = (max(mine[0], theirs[0]) + min(mine[1], theirs[1])) / 2
    width = min(max(1.0, gap), max(1.0, FEATHER * min(window.width, window.height)))
    distance = (middle - places - 0.5) if after else (places + 0.5 - middle)
    ramp = 0.5 - 0.5 * torch.cos(torch.pi * (0.5 + distance / width).clamp(0, 1))
    return ramp.expand(int(window.height), -1) if side_by_side else ramp[:, None].expand(-1, int(window.width))


def _recolored(frames: Tensor, picture: Picture, crop: Crop) -> Tensor:
    """Shift each frame's channels to agree with the picture along the seam."""
    seam = _sized(feather(crop)[None, None].to(frames), (crop.size[1], crop.size[0]))[0, 0]
    seam = (seam > 0.01) & (seam < 0.99)
    if not seam.any():
        return frames
    before = _as_tensor(resized(cut(picture, crop), crop.size), frames)
    # The median ignores what moved there.
    return frames - (frames - before)[..., seam].median(-1).values[..., None, None]


def _enlarged(frames: Tensor, seen: Picture) -> Tensor:
    """Frames at the crop's own size, with the picture's finer detail where nothing moved."""
    shape = (seen.shape[0], seen.shape[1])
    before = _as_tensor(resized(seen, (frames.shape[3], frames.shape[2])), frames)
    detail = _as_tensor(seen, frames) - _sized(before, shape)
    return _sized(frames, shape) + _sized(stillness(frames, before), shape) * detail


def stillness(frames: Tensor, before: Tensor) -> Tensor:
    """Map (n, 1, height / 8, width / 8): 1 where a frame shows the same as the portrait, 0 where it moved."""
    change = F.max_pool2d((frames - before).abs().amax(1, keepdim=True), 8)
    change = F.avg_pool2d(F.max_pool2d(change, 3, 1, 1), 3, 1, 1, count_include_pad=False)
    return (1 - change / STILL).clamp(0, 1)


def feather(crop: Crop) -> Tensor:
    """Weight of the frames over the crop (height, width): 1, falling smoothly to 0 at seams."""
    window, inside = crop.box, crop.inside
    width = max(1.0, FEATHER * min(window.width, window.height))
    across = _ramp(int(window.width), width, inside.left > 0, inside.right < crop.picture[0])
    down = _ramp(int(window.height), width, inside.top > 0, inside.bottom < crop.picture[1])
    return down[:, None] * across


def _ramp(length: int, width: float, at_start: bool, at_end: bool) -> Tensor:
    distance = torch.arange(length) + 0.5
    nearest = torch.full((length,), width)
    if at_start:
        nearest = torch.minimum(nearest, distance)
    if at_end:
        nearest = torch.minimum(nearest, distance.flip(0))
    return 0.5 - 0.5 * torch.cos(torch.pi * nearest / width)


def _as_tensor(picture: Picture, like: Tensor) -> Tensor:
    return torch.from_numpy(picture).to(like.device).permute(2, 0, 1)[None].to(like.dtype) / 255


def _sized(pictures: Tensor, shape: tuple[int, int]) -> Tensor:
    if pictures.shape[2:] == shape:
        return pictures
    return F.interpolate(pictures, shape, mode="bilinear", antialias=True)
