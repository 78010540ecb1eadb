"""The recorded cases of the portrait: landmarks and a picture -> pixels, rectangles, soft masks, pyramid, locator.

`masks_*_quirk_oversize` stays without an answer: there the original takes a negative start of a slice and loses the
rectangle, where we cut it at the picture's border.
"""

from __future__ import annotations

import torch
from cases import answers
from torch import Tensor

from joyhallo.faces.regions import drawn, face_rectangle, lip_rectangle
from joyhallo.methods.hallo.masks import FACE_BLUR, locator, pixels, pyramid, soft_masks, softened


def in_bytes(picture: Tensor, middle: float = 0.0, half: float = 1.0) -> Tensor:
    return ((picture * half + middle) * 255).round().to(torch.uint8)


@answers(r"masks_(?!.*quirk_oversize).*")
def masks(case):
    facts, points, image = case.facts, case["landmarks"].numpy(), case["image"].numpy()
    size, target = (image.shape[1], image.shape[0]), (facts["img_size"],) * 2
    face = drawn(face_rectangle(points, size, facts["face_expand_ratio"]), size)
    soft = soft_masks(face, drawn(lip_rectangle(points, size), size))
    yield "out.face_mask_blur", torch.from_numpy(softened(face, FACE_BLUR))
    yield "out.sep_background", torch.from_numpy(soft.pose)
    yield "out.sep_face", torch.from_numpy(soft.expression)
    yield "out.sep_lip", torch.from_numpy(soft.lip)
    yield "out.pixels_u8", in_bytes(pixels(image, target), 0.5, 0.5)
    yield "out.face_mask_u8", in_bytes(locator(face, target))
    for level, regions in enumerate(pyramid(soft, target)):
        for name, region in zip(("full", "face", "lip"), regions, strict=True):
            yield f"out.{name}.{level}", region[None]
