"""Masks of labels against OpenCV's and Pillow's own, and against what a mesh says of a face."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from upright_face import track

from joyhallo.faces.boxes import Box
from joyhallo.methods.musetalk.boxes import boxes_of
from joyhallo.methods.musetalk.masks import Rim, Square, bell, drawn, filled, masks, share
from joyhallo.methods.musetalk.method import faces_of

SQUARES = [Box(40, 30, 160, 190), Box(-10, 100, 61, 133), Box(0, 0, 300, 40)]


def blobs(seed: int) -> torch.Tensor:
    """Labels in smooth areas, as a parser's are."""
    coarse = np.random.default_rng(seed).integers(0, 19, (9, 9), dtype=np.uint8)
    return torch.from_numpy(np.array(Image.fromarray(coarse).resize((512, 512), Image.Resampling.NEAREST)))[None]


@pytest.mark.parametrize("seed", range(3))
def test_jaw_as_opencv_makes_it(seed):
    cv2 = pytest.importorskip("cv2", reason="opencv is not installed, and these are its bits")
    labels = blobs(seed)
    labels[:, 100:400, 150:380] = 1
    kernel = np.zeros((33, 33), np.uint8)
    for row in range(10, 21):
        kernel[row, 16 - (row - 10) : 17 + row - 10] = 1
    kernel[21:, 6:27] = 1
    lens = np.zeros((3, 35), np.uint8)
    lens[1], lens[:, 17] = 1, 1
    plain = labels[0].numpy()
    grown = cv2.dilate((plain == 1).astype(np.uint8), kernel)
    narrow = cv2.erode(grown, lens, iterations=2)
    face = grown.copy()
    face[:, : 256 - 90 + 1], face[:, 256 + 90 :] = narrow[:, : 256 - 90 + 1], narrow[:, 256 + 90 :]
    expected = ((face > 0) & (plain != 10)) | np.isin(plain, (11, 12, 13))
    assert np.array_equal(masks(labels, "jaw")[0].numpy(), expected)


@pytest.mark.parametrize("box", [Box(38, 44, 98, 116), Box(8, 75, 203, 317), Box(3, 2, 9, 12)])
@pytest.mark.parametrize("blur", [0.05, 0.1])
def test_shares_as_opencv_and_pillow_make_them(box, blur):
    cv2 = pytest.importorskip("cv2", reason="opencv is not installed, and these are its bits")
    mask, square = masks(blobs(5), "raw")[0], Square.around(box)
    side, left, top = square.side, int(box.left) - square.left, int(box.top) - square.top
    resized = np.array(Image.fromarray(mask.numpy().astype(np.uint8) * 255).resize((side, side)))
    kept = np.zeros_like(resized)
    rows, columns = slice(top, top + int(box.height)), slice(left, left + int(box.width))
    kept[rows, columns] = resized[rows, columns]
    kept[: side // 2] = 0
    size = int(blur * side // 2 * 2) + 1
    expected = cv2.GaussianBlur(kept, (size, size), 0)[rows, columns]
    assert np.abs((share(mask, box, Rim(blur=blur)) * 255).round().numpy() - expected).max() <= 1


def test_the_curve_is_opencvs():
    cv2 = pytest.importorskip("cv2", reason="opencv is not installed, and these are its bits")
    for size in range(1, 120, 2):
        dot = np.zeros((1, 2 * size + 1), np.uint8)
        dot[0, size] = 255
        expected = cv2.GaussianBlur(dot, (size, 1), 0, borderType=cv2.BORDER_CONSTANT)[0, size // 2 + 1 :][:size]
        found = (np.array(bell(size)) * 255 + 128) // 256
        assert np.array_equal(found, expected), size


@pytest.mark.parametrize("box", SQUARES)
def test_a_square_as_pillow_cuts_it(box):
    picture = np.array(Image.effect_noise((200, 240), 90).convert("RGB"))
    square = Square.around(box)
    corners = square.left, square.top, square.left + square.side, square.top + square.side
    expected = np.array(Image.fromarray(picture).crop(corners).resize((512, 512), Image.Resampling.BILINEAR))
    found = square.seen(torch.from_numpy(picture)).permute(1, 2, 0).numpy()
    assert np.abs(found - expected).max() <= 1
    assert (found != expected).mean() < 0.02


def test_outlines_are_filled_as_pillow_fills_them():
    outlines = np.random.default_rng(2).uniform(-50, 560, (4, 7, 2)).astype(np.float32)
    for outline, found in zip(outlines, filled(torch.from_numpy(outlines)), strict=True):
        large = Image.new("1", (4096, 4096))
        ImageDraw.Draw(large).polygon([tuple(8 * corner) for corner in outline], fill=1)
        expected = np.array(large)[4::8, 4::8]
        assert (expected != found.numpy()).mean() < 0.01


def test_the_mesh_draws_what_a_parser_would_see_of_a_plain_face():
    """Of a face that is an ellipse the mask is the lower half of it, without the nose and with the lips."""
    seen = track()
    faces = faces_of(seen, boxes_of(seen, "original"), "jaw")
    patch = faces.patch(torch.zeros(3, 256, 256), 0)
    assert patch is not None
    weights, (height, width) = patch.weights, patch.box.shape
    assert weights is not None
    assert weights.shape == (height, width)
    assert weights[: height // 2 - 6].max() == 0, "above the bridge nothing is replaced"
    assert weights[round(0.7 * height), width // 2] == 1
    assert weights[-3, :20].max() == 0, "beside the chin there is no face"
    square = Square.around(faces.boxed.box(0))
    skin = drawn([(1, torch.from_numpy(ellipse(square)).float()[None])])
    ideal = share(masks(skin, "jaw")[0].float(), patch.box)
    assert (ideal - weights).abs().mean() < 0.02


def ellipse(square: Square) -> np.ndarray:
    turns = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    places = np.stack([100 + 60 * np.sin(turns), 120 + 70 * np.cos(turns)], axis=1)
    return (places - (square.left, square.top)) * 512 / square.side
