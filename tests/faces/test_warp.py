import numpy as np
import pytest
import torch
from warps import Warps

from joyhallo.faces import warp
from joyhallo.faces.blend import blended
from joyhallo.faces.warp import read_at

TEMPLATE = np.array([[20.0, 20.0], [44.0, 20.0], [32.0, 50.0], [25.0, 44.0]])


def moved(points, scale: float, angle: float, shift) -> np.ndarray:
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return points @ turn.T + shift


def place(warps: Warps, crops: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
    made = pictures.clone()
    for frame, crop in enumerate(crops):
        if (patch := warps.patch(crop, frame)) is not None:
            blended(made[frame], patch, patch.weights, 1.0, False)
    return made


def smooth(frames: int = 2, height: int = 120, width: int = 160) -> torch.Tensor:
    """(frames, height, width, 3), of bytes"""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    waves = [torch.sin(x / 17 + i) * torch.cos(y / 23 - i) for i in range(3 * frames)]
    return (torch.stack(waves).reshape(frames, 3, height, width) * 100 + 128).movedim(1, 3).byte()


@pytest.mark.parametrize("angle", [0.0, 0.3, -0.7])
def test_what_was_cut_goes_back_where_it_was(angle):
    pictures = smooth()
    around = TEMPLATE - 31.5  # the middle of the square
    points = [moved(around, 1.2, angle, (80, 60)), moved(around, 1.1, angle, (75, 58))]
    inside = torch.nn.functional.pad(torch.ones(62, 62), (1, 1, 1, 1))
    warps = Warps.of(points, TEMPLATE, 64, inside, (160, 120))
    crops = warps.cut(pictures, [0, 1])
    assert crops.shape == (2, 3, 64, 64)
    made = place(warps, crops, pictures)
    assert (made.int() - pictures.int()).abs().max() <= 1
    assert not torch.equal(made, pictures)


def test_cutting_follows_the_points():
    """A picture whose colours are its coordinates."""
    y, x = torch.meshgrid(torch.arange(100.0), torch.arange(140.0), indexing="ij")
    points = moved(TEMPLATE, 1.5, 0.2, (20, 5))
    warps = Warps.of([points], TEMPLATE, 64, torch.ones(64, 64), (140, 100))
    crop = warps.cut(torch.stack([x, y, x], dim=-1)[None].byte(), [0])[0]
    for point, (column, row) in zip(points, TEMPLATE.astype(int), strict=True):
        assert np.allclose(255 * crop[:2, row, column].numpy(), point, atol=0.02)


def test_without_weight_nothing_changes():
    pictures, mask = smooth(1), torch.zeros(64, 64)
    mask[40:60, 10:50] = 1
    warps = Warps.of([moved(TEMPLATE, 1.3, 0.1, (60, 30))], TEMPLATE, 64, mask, (160, 120))
    made = place(warps, torch.ones(1, 3, 64, 64), pictures)
    changed = (made != pictures).any(3)[0]
    assert 1000 < changed.sum() < 1700  # 20 x 40 pixels, 1.3 times as large


def test_a_face_that_leaves_the_picture_is_cut_and_placed_all_the_same():
    pictures = smooth(1)
    for shift in ((-60, 0), (140, 100), (-400, -400)):
        warps = Warps.of([moved(TEMPLATE, 1.3, 0.1, shift)], TEMPLATE, 64, torch.ones(64, 64), (160, 120))
        crops = warps.cut(pictures, [0])
        assert crops.isfinite().all()
        assert place(warps, crops, pictures).shape == pictures.shape


@pytest.mark.parametrize("shape", [(7, 5), (1, 4)])
def test_beyond_a_picture_its_border_is_read_by_any_device(shape, monkeypatch):
    dice = torch.Generator().manual_seed(1)
    pictures, places = torch.rand(2, 3, *shape, generator=dice), 3 * torch.rand(2, 20, 9, 2, generator=dice) - 1.5
    usual = read_at(pictures, places)
    monkeypatch.setattr(warp, "BORDERLESS", ("cpu",))
    torch.testing.assert_close(read_at(pictures, places), usual, rtol=0, atol=1e-6)
