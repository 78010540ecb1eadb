"""Conversion of PIL images, arrays and tensors: `as_picture` to 8-bit RGB, `as_mask` to 8-bit masks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from .boxes import Picture
from .regions import Mask


def as_picture(image: Any, background: tuple[int, int, int] = (255, 255, 255)) -> Picture:
    """A PIL image, an array or a tensor -> (height, width, 3) in 0..255.

    PIL images are turned by their EXIF data. Arrays and tensors are (height, width[, channels]), or a batch of one of
    these; floats are in 0..1. Transparent areas show the background.
    """
    if isinstance(image, Image.Image):
        image = ImageOps.exif_transpose(image)
        array = _pixels_of(image)
    else:
        array = _in_bytes(_single(_numbers_of(image)))
    if not array.shape[0] or not array.shape[1]:
        raise ValueError(f"The picture has the shape {array.shape}, so it is empty; load another one.")
    return _composited(array, background)


def as_mask(mask: Any) -> Mask:
    """A mask (height, width) in 0..255, from any form that a picture may have; the brightest channel counts."""
    shape = tuple(getattr(mask, "shape", ()))
    if len(shape) == 3 and shape[0] > 1 and shape[2] > 4:
        raise ValueError(f"{shape[0]} masks were given where one is needed; pick one of the batch.")
    return as_picture(mask).max(2)


def _pixels_of(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith(("I", "F")):  # Pillow's own conversion to 8 bits clips these at 255
        values = np.asarray(image)
        if values.dtype.kind == "f" and values.max(initial=0) <= 1:
            return _in_bytes(values[..., None])
        return (values.clip(0, 65535) / (257 if values.max(initial=0) > 255 else 1)).round().astype(np.uint8)[..., None]
    if image.mode == "La":  # Pillow offers no other way out of premultiplied grey
        image = image.convert("LA")
    transparent = image.mode in ("RGBA", "LA", "PA", "RGBa") or "transparency" in image.info
    return np.array(image.convert("RGBA" if transparent else "RGB"))


def _numbers_of(image: Any) -> NDArray[Any]:
    if isinstance(image, Tensor):
        image = image.detach().cpu()
        return (image.float() if image.is_floating_point() else image).numpy()
    return np.asarray(image)


def _single(array: NDArray[Any]) -> NDArray[Any]:
    if array.ndim == 4:
        if len(array) != 1:
            raise ValueError(
                f"{len(array)} pictures, as of a video, were given where one is needed; pick one of the batch, in "
                "ComfyUI with the node ImageFromBatch."
            )
        array = array[0]
    elif array.ndim == 3 and array.shape[0] == 1 and array.shape[2] > 4:  # a batch of one mask
        array = array[0]
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or not 1 <= array.shape[2] <= 4:
        raise ValueError(
            f"The picture has the shape {array.shape}; expected (height, width) or (height, width, channels) with 1 to "
            "4 channels, the channels last."
        )
    return array


def _in_bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    if array.dtype == np.uint8:
        return array
    if array.dtype == bool:
        return array.astype(np.uint8) * 255
    if array.dtype == np.uint16:
        return (array / 257).round().astype(np.uint8)
    if array.dtype.kind != "f":
        raise ValueError(f"The picture holds {array.dtype} numbers; expected unsigned 8 or 16 bits, or floats in 0..1.")
    if not np.isfinite(array).all():
        raise ValueError("The picture holds values that are not numbers; check what produced it.")
    if array.size and (array.min() < -0.25 or array.max() > 1.5):
        raise ValueError(
            f"The picture holds values from {array.min():.2f} to {array.max():.2f}; floats must be in 0..1: scale them."
        )
    return (array.clip(0, 1) * 255).round().astype(np.uint8)


def _composited(array: NDArray[np.uint8], background: tuple[int, int, int]) -> Picture:
    channels = array.shape[2]
    color = np.repeat(array[..., :1], 3, 2) if channels < 3 else array[..., :3]
    if channels in (1, 3):
        return np.array(color)
    opaque = array[..., -1:] / 255
    return (color * opaque + np.array(background) * (1 - opaque)).round().astype(np.uint8)
