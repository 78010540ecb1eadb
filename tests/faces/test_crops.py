import numpy as np
import pytest
import torch
from PIL import Image

from joyhallo.faces.boxes import Box, whole
from joyhallo.faces.crops import Crop, crop_face, crop_whole, cut, feather, fitting, half, in_crop, paste
from joyhallo.faces.picture import as_mask, as_picture
from joyhallo.faces.regions import resized


def scene(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Smooth colours with fine grain: what a resize loses is there to be lost."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    picture = np.array(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    return (picture + random.integers(-12, 13, picture.shape)).clip(0, 255).astype(np.uint8)


def psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(-10 * ((a.double() - b.double()) ** 2).mean().clamp(min=1e-12).log10())


def as_tensor(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture).permute(2, 0, 1).float() / 255


# ---- any picture


def test_every_mode_of_pillow_gives_rgb():
    gray = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    for mode in (
        "1",
        "L",
        "P",
        "RGB",
        "RGBA",
        "CMYK",
        "YCbCr",
        "LAB",
        "HSV",
        "LA",
        "PA",
        "I",
        "F",
        "I;16",
        "RGBX",
        "La",
    ):
        image = gray.convert("RGBA").convert("P") if mode == "P" else gray
        try:
            image = image.convert(mode)
        except ValueError:  # Pillow converts to some modes over others only
            image = Image.new(mode, (16, 16))
        found = as_picture(image)
        assert found.shape == (16, 16, 3), mode
        assert found.dtype == np.uint8


def test_gray_rgb_and_floats_agree():
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    expected = np.repeat(values[..., None], 3, 2)
    for same in (
        Image.fromarray(values),
        values,
        values[..., None],
        torch.from_numpy(expected).float()[None] / 255,
        torch.from_numpy(expected),
        values.astype(np.uint16) * 257,
        Image.fromarray(values.astype(np.uint16) * 257),
        Image.fromarray(values.astype(np.float32) / 255),
        (torch.from_numpy(values).float() / 255).double(),
        (values / 255).astype(np.float16),
    ):
        assert np.array_equal(as_picture(same), expected)


def test_16_bit_png(tmp_path):
    values = (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    with Image.open(tmp_path / "deep.png") as image:
        assert np.array_equal(as_picture(image)[..., 0], np.arange(256).reshape(16, 16))


def test_transparent_parts_show_the_background():
    image = Image.new("RGBA", (4, 2), (200, 0, 0, 0))
    image.putpixel((0, 0), (200, 0, 0, 255))
    image.putpixel((1, 0), (200, 0, 0, 51))
    found = as_picture(image, background=(0, 100, 0))
    assert found[0, 0].tolist() == [200, 0, 0]
    assert found[0, 1].tolist() == [40, 80, 0]
    assert found[1, 3].tolist() == [0, 100, 0]
    expected = Image.alpha_composite(Image.new("RGBA", (4, 2), (0, 100, 0, 255)), image).convert("RGB")
    assert np.abs(found.astype(int) - np.array(expected)).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_a_photograph_is_honoured(tmp_path, orientation):
    upright = Image.fromarray(scene(40, 20))
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transposition that each orientation undoes
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(back[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as image:
        assert np.array_equal(as_picture(image), np.array(upright))


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((2, 8, 8, 3), np.uint8), "2 pictures"),
        (np.zeros((8, 8, 5), np.uint8), "channels last"),
        (np.zeros((3, 80, 80), np.uint8), "channels last"),
        (np.full((8, 8, 3), 200.0), "0..1"),
        (np.full((8, 8, 3), np.nan), "not numbers"),
        (np.zeros((8, 8), np.int64), "int64"),
        (np.zeros((0, 8, 3), np.uint8), "is empty"),
        (np.zeros(8, np.uint8), "shape"),
    ],
)
def test_what_is_no_picture_is_said(image, words):
    with pytest.raises(ValueError, match=words):
        as_picture(image)


def test_masks_come_in_any_form():
    mask = torch.zeros(1, 30, 20)
    mask[0, 10:20, 5:15] = 1
    for same in (mask, mask[0], mask[0, ..., None].expand(-1, -1, 3), Image.fromarray(mask[0].numpy() > 0)):
        found = as_mask(same)
        assert found.shape == (30, 20)
        assert found[15, 10] == 255
        assert found[0, 0] == 0
    with pytest.raises(ValueError, match="3 masks were given"):
        as_mask(mask.expand(3, -1, -1))


# ---- the window


@pytest.mark.parametrize("size", [(512, 512), (256, 320), (448, 256)], ids=str)
@pytest.mark.parametrize("picture", [(512, 512), (1920, 1080), (600, 800), (300, 2000)], ids=str)
def test_the_face_takes_50_to_70_percent(picture, size):
    random = np.random.default_rng(0)
    for _ in range(200):
        longest = random.uniform(60, 1.2 * min(picture))
        width = longest * random.uniform(0.6, 1)
        center = [random.uniform(0.2, 0.8) * side for side in picture]
        face = Box(center[0] - width / 2, center[1] - longest / 2, center[0] + width / 2, center[1] + longest / 2)
        crop = crop_face(picture, face, size)
        window = crop.box
        assert 0.5 <= face.longest / min(window.width, window.height) <= 0.705
        assert abs(window.width / window.height - size[0] / size[1]) < 2 / min(window.width, window.height) + 1e-9
        visible = face.within(whole(picture))
        assert visible.within(window).area > 0.98 * visible.area  # nothing of the face is cut off
        if face.longest / 0.7 > min(picture):
            continue
        assert window.height <= picture[1] or window.width <= picture[0]


def test_a_window_stays_in_the_picture_where_it_can():
    crop = crop_face((1000, 800), Box(0, 0, 150, 200))
    assert crop.box == Box(0, 0, 333, 333)
    tight = crop_face((1000, 300), Box(400, 40, 560, 240))
    assert tight.box.height == 300  # 333 would need a border; 67 % of 300 is still fine
    bordered = crop_face((1000, 300), Box(400, 0, 600, 300))
    assert bordered.box.height == 429
    assert bordered.box.top == -64


def test_a_fitting_square_is_left_alone():
    assert crop_face((640, 640), Box(200, 150, 500, 530)).box == whole((640, 640))


def test_as_it_is():
    assert crop_whole((800, 600), (512, 384)).box == Box(0, 0, 800, 600)
    assert crop_whole((800, 620), (512, 384)).box == Box(0, 10, 800, 610)
    with pytest.raises(ValueError, match="512x384"):
        crop_whole((800, 600), (512, 512))
    with pytest.raises(ValueError, match="512x448"):
        crop_whole((800, 600), (500, 460))
    assert fitting((1080, 1920), 512) == (256, 512)


def test_the_same_window_at_another_size():
    random = np.random.default_rng(0)
    for _ in range(200):
        longest, (x, y) = random.uniform(60, 900), random.uniform(0, 1000, 2)
        face = Box(x, y, x + longest, y + longest)
        for size, other in (((512, 512), (64, 64)), ((256, 384), (512, 768)), ((448, 64), (896, 128))):
            assert crop_face((1000, 900), face, size).at(other) == crop_face((1000, 900), face, other)
    crop = crop_face((1000, 800), Box(400, 300, 550, 500))
    for size, words in (((512, 510), "multiples of 64"), ((0, 0), "multiples of 64"), ((512, 448), "stretched to")):
        with pytest.raises(ValueError, match=words):
            crop.at(size)


def test_cut_repeats_the_border_and_points_follow():
    picture = scene(40, 30)
    crop = Crop((40, 30), Box(-10, -5, 30, 35), (64, 64))
    seen = cut(picture, crop)
    assert seen.shape == (40, 40, 3)
    assert np.array_equal(seen[5:35, 10:], picture[:, :30])
    assert np.array_equal(seen[0], seen[5])
    x, y = in_crop(np.array([[7.0, 9.0]]), crop)[0].astype(int)
    assert np.array_equal(seen[y, x], picture[9, 7])
    with pytest.raises(ValueError, match="30x40"):
        cut(picture.transpose(1, 0, 2), crop)


# ---- and back

WINDOWS = {
    "smaller": Box(200, 100, 500, 400),
    "larger": Box(100, 50, 900, 850),
    "at a corner": Box(0, 0, 600, 600),
    "beyond": Box(-100, -50, 900, 950),
    "all": Box(0, 0, 1000, 900),
}


@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS.keys())
def test_unchanged_pixels_go_back_unchanged(window):
    picture = scene(1000, 900)
    size = (256, 256) if window.width == window.height else (320, 288)
    crop = Crop((1000, 900), window, size)
    frames = as_tensor(resized(cut(picture, crop), size)).expand(2, -1, -1, -1)
    before, found = as_tensor(picture), paste(frames, picture, crop)
    inside = crop.inside
    place = (..., slice(int(inside.top), int(inside.bottom)), slice(int(inside.left), int(inside.right)))
    assert psnr(found[place], before[place].expand(2, -1, -1, -1)) >= 45
    outside = torch.ones(900, 1000, dtype=torch.bool)
    outside[place] = False
    assert torch.equal(found[0][:, outside], before[:, outside])


def test_a_shift_of_colour_does_not_show():
    picture = scene(400, 400)
    crop = Crop((400, 400), Box(50, 50, 350, 350), (256, 256))
    frames = (as_tensor(resized(cut(picture, crop), (256, 256)))[None] * 0.8 + 0.1) + torch.tensor(
        [[0.03, -0.02, 0.0]]
    )[..., None, None]
    shifted = as_tensor(picture)[None] * 0.8 + 0.1
    back = (shifted[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    assert psnr(paste(frames, back, crop), shifted) > 40


def test_what_moved_is_shown():
    picture = scene(600, 600)
    crop = Crop((600, 600), Box(100, 100, 500, 500), (256, 256))
    frames = as_tensor(resized(cut(picture, crop), (256, 256)))[None].clone()
    frames[..., 100:160, 90:170] = torch.tensor([1.0, 0.0, 0.0])[:, None, None]
    found = paste(frames, picture, crop)[0]
    assert (found[:, 300, 300] - torch.tensor([1.0, 0.0, 0.0])).abs().max() < 0.01
    assert torch.equal(found[:, :100], as_tensor(picture)[:, :100])


def test_there_is_no_seam():
    """A frame that is brighter in its middle goes over into the picture without a step."""
    picture = np.full((300, 300, 3), 100, np.uint8)
    crop = Crop((300, 300), Box(50, 50, 250, 250), (256, 256))
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, 256)] * 2, indexing="ij")
    frames = 100 / 255 + 0.3 * (1 - x**2).clamp(0) * (1 - y**2).clamp(0)
    found = paste(frames.expand(1, 3, -1, -1), picture, crop)
    assert found.diff(dim=-1).abs().max() < 0.02


def test_each_frame_is_recoloured_by_itself():
    picture = scene(300, 300)
    crop = Crop((300, 300), Box(50, 50, 250, 250), (256, 256))
    still = as_tensor(resized(cut(picture, crop), (256, 256)))
    frames = torch.stack([still * 0.8 + 0.15, still * 0.8])
    alone = torch.cat([paste(each[None], picture, crop) for each in frames])
    torch.testing.assert_close(paste(frames, picture, crop), alone, rtol=0, atol=1e-6)


def test_nothing_fades_at_the_pictures_own_border():
    weight = feather(Crop((1000, 900), Box(0, 0, 600, 600), (256, 256)))
    assert (weight[:500, :500] == 1).all()
    assert weight[-1].max() < 0.01
    assert weight[:, -1].max() < 0.01


def test_frames_of_another_size_are_refused():
    picture = scene(300, 300)
    crop = Crop((300, 300), Box(50, 50, 250, 250), (256, 256))
    with pytest.raises(ValueError, match="128"):
        paste(torch.zeros(1, 3, 128, 128), picture, crop)


# ---- two people in one picture

LEFT, RIGHT = Box(110, 100, 230, 280), Box(262, 110, 382, 290)


def couple() -> tuple[np.ndarray, tuple[Crop, Crop]]:
    picture = scene(560, 400)
    return picture, tuple(crop_face((560, 400), face, (256, 256)) for face in (LEFT, RIGHT))  # type: ignore[return-value]


def colored(crop: Crop, picture: np.ndarray, face: Box, color: tuple[float, float, float]) -> torch.Tensor:
    """Frames in which a face, and something of what is around it, is of one colour."""
    frames = as_tensor(resized(cut(picture, crop), crop.size))[None].clone()
    scale = crop.size[0] / crop.box.width
    place = face.inset(-15).moved(-crop.box.left, -crop.box.top).scaled(scale)
    frames[(..., *place.slices)] = torch.tensor(color)[:, None, None]
    return frames


def test_each_face_is_of_its_own_frames():
    picture, (left, right) = couple()
    assert left.box.within(right.box).area > 0
    assert LEFT.within(right.box).area > 0.1 * LEFT.area  # its square would cover the first face
    first = paste(colored(left, picture, LEFT, (1, 0, 0)), picture, left, clear_of=[RIGHT], face=LEFT)
    found = paste(colored(right, picture, RIGHT, (0, 0, 1)), picture, right, onto=first, clear_of=[LEFT], face=RIGHT)
    for box, color in ((LEFT, (1.0, 0.0, 0.0)), (RIGHT, (0.0, 0.0, 1.0))):
        inner = found[(0, slice(None), *box.slices)]
        assert (inner - torch.tensor(color)[:, None, None]).abs().max() < 0.02
    assert torch.equal(found[(..., *LEFT.slices)], first[(..., *LEFT.slices)])
    over = paste(colored(right, picture, RIGHT, (0, 0, 1)), picture, right, onto=first)
    assert not torch.equal(over[(..., *LEFT.slices)], first[(..., *LEFT.slices)])


def test_two_who_are_still_leave_no_seam():
    picture, (left, right) = couple()
    result = None
    for crop, other, own in ((left, RIGHT, LEFT), (right, LEFT, RIGHT)):
        still = as_tensor(resized(cut(picture, crop), (256, 256))).expand(2, -1, -1, -1)
        result = paste(still, picture, crop, onto=result, clear_of=[other], face=own)
    assert result is not None
    assert psnr(result, as_tensor(picture).expand(2, -1, -1, -1)) >= 45
    smooth = np.full((400, 560, 3), 120, np.uint8)
    for crop, other in ((left, RIGHT), (right, LEFT)):
        brighter = torch.full((1, 3, 256, 256), 0.6)
        brighter[..., :2, :], brighter[..., -2:, :] = 120 / 255, 120 / 255
        brighter[..., :2], brighter[..., -2:] = 120 / 255, 120 / 255
        found = paste(brighter, smooth, crop, clear_of=[other], face=LEFT if other is RIGHT else RIGHT)
        assert found.diff(dim=-1).abs().max() < 0.02


@pytest.mark.parametrize(
    ("own", "other"),
    [
        (Box(100, 100, 200, 220), Box(230, 90, 330, 210)),
        (Box(230, 90, 330, 210), Box(100, 100, 200, 220)),
        (Box(100, 60, 200, 160), Box(130, 165, 230, 265)),
        (Box(100, 165, 200, 265), Box(130, 60, 230, 160)),
        (Box(100, 100, 200, 220), Box(200, 100, 300, 220)),
        (Box(100, 100, 200, 220), Box(190, 100, 290, 220)),
    ],
)
def test_the_middle_between_two_faces_divides_the_window(own, other):
    crop = crop_face((400, 300), own, (256, 256))
    weight, theirs = half(crop, own, other), half(crop, other, own)
    for box, expected in ((own, 1.0), (other, 0.0)):
        kept = box if own.within(other).area == 0 else box.inset(11)
        inner = kept.within(crop.inside).moved(-crop.box.left, -crop.box.top).slices
        assert (weight[inner] == expected).all()
    assert torch.allclose(weight + theirs, torch.ones(()), atol=1e-6)


def test_without_another_face_or_background_nothing_is_different():
    picture, (left, _) = couple()
    frames = colored(left, picture, LEFT, (0.2, 0.5, 0.1))
    plain = paste(frames, picture, left)
    background = as_tensor(picture)[None].clone()
    assert torch.equal(paste(frames, picture, left, onto=background), plain)
    assert torch.equal(background, as_tensor(picture)[None])
    outside = paste(frames, picture, left, onto=1 - background)[..., :, 400:]
    assert torch.equal(outside, (1 - background)[..., :, 400:])


def test_a_background_of_another_size_is_refused():
    picture, (left, _) = couple()
    for shape in ((2, 3, 400, 560), (1, 3, 200, 280), (1, 4, 400, 560)):
        with pytest.raises(ValueError, match=r"The background has the shape .* \(1, 3, 400, 560\): as many"):
            paste(torch.zeros(1, 3, 256, 256), picture, left, onto=torch.zeros(shape))
