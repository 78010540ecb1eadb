"""What a method that sees boxes does with the frames of a whole film at once, as the originals do it."""

from torch import Tensor

from joyhallo.faces.blend import blended
from joyhallo.faces.rescale import rescale
from joyhallo.methods.boxed import Boxed


def cut(pictures: Tensor, boxes: Tensor, size: int) -> Tensor:
    """pictures uint8 (n, height, width, 3), boxes (n, 4) -> crops (n, size, size, 3)"""
    return Boxed(boxes, size, rescale).cut(pictures, range(len(pictures))).permute(0, 2, 3, 1)


def pasted(pictures: Tensor, boxes: Tensor, crops: Tensor) -> Tensor:
    """Copies of the pictures in which each crop covers its whole box."""
    made, faces = pictures.clone(), Boxed(boxes, crops.shape[1], rescale)
    for frame, crop in enumerate(crops):
        patch = faces.patch(crop.permute(2, 0, 1), frame)
        blended(made[frame], patch, None, 1.0, matched=False)
    return made
