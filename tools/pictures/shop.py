"""The icon and the banner that the registry shows, drawn like the demo's portrait: `python -m tools.pictures.shop`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import cos, pi, sin

from PIL import Image, ImageDraw, ImageFont

from joyhallo.drawn.drawing import FINE, SIDE, WHITE, Color

from ..comfyui.server import ROOT
from .portrait import saying, sitter

ASSETS = ROOT / "assets"
ICON, BANNER = 400, (1260, 540)  # a square of at most 400 pixels, and 21:9, as the registry asks

TWICE = 2  # the banner is drawn this many times larger, for smooth edges

DEEP, NIGHT, DAY = (15, 76, 92), (10, 34, 54), (255, 196, 87)
CENTRE, INNER, REACH, BARS, OPEN = (256, 250), 206, 46, 32, 5 / 6  # of the halo of sound; how much of it is drawn
MOUTHS = (0.0, 0.25, 0.55)  # how far open in each picture of the strip
CARD, GAP, EDGE, TOP = 236, 20, 48, 78  # of these pictures, in pixels of the banner
SOUND = 45  # bars
LINES = (("JoyHallo", 92, 176), ("One portrait, one recording:", 27, 268), ("a video that speaks.", 27, 304))


def main() -> None:
    ASSETS.mkdir(exist_ok=True)
    icon().save(ASSETS / "icon.png", optimize=True)
    banner().save(ASSETS / "banner.png", optimize=True)


def icon() -> Image.Image:
    """Someone who speaks, with a halo of sound; the corners are clear, so that it fits any page."""
    ground = ramp(DEEP, NIGHT, (SIDE * FINE, SIDE * FINE))
    halo(ground)
    picture = ground.resize((ICON, ICON), Image.Resampling.LANCZOS)
    figure = Image.fromarray(sitter(size=ICON).figure(saying(0.4)))
    picture.paste(figure, mask=figure)
    corners = rounded_corners(ground.size, 96 * FINE)
    picture.putalpha(corners.resize(picture.size, Image.Resampling.LANCZOS))
    return picture


def banner() -> Image.Image:
    """Pictures of a video, the sound that they follow, and the name."""
    width, height = BANNER
    ground = ramp(DEEP, NIGHT, (TWICE * width, TWICE * height))
    strip(ground)
    title(ground)
    return ground.resize(BANNER, Image.Resampling.LANCZOS)


# ---- parts


def halo(ground: Image.Image) -> None:
    """Bars of a loudness meter, set in a circle; none behind the neck."""
    draw, (x, y) = ImageDraw.Draw(ground), CENTRE
    for number, loud in enumerate(loudness(round(BARS / 2 * OPEN) + 1)):
        for side in (-1, 1):
            angle = 2 * pi * number / BARS
            across, down = side * sin(angle), -cos(angle)
            ends = [(x + across * far, y + down * far) for far in (INNER, INNER + REACH * loud)]
            bar(draw, ends, 17, DAY, FINE)


def loudness(count: int) -> Iterator[float]:
    """The loudness of a made-up sentence: 0.2 to 1."""
    for at in range(count):
        yield 0.2 + 0.8 * abs(sin(1.7 * at + 0.6) * cos(0.55 * at))


def bar(draw: ImageDraw.ImageDraw, ends: Sequence[tuple[float, float]], width: float, color: Color, fine: int) -> None:
    """A line with round ends."""
    points = [(x * fine, y * fine) for x, y in ends]
    draw.line(points, color, round(width * fine))
    for x, y in points:
        radius = (width * fine - 1) / 2
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), color)


def strip(ground: Image.Image) -> None:
    """Frames of a video, and below them the sound that they follow."""
    side = CARD * TWICE
    corners = rounded_corners((side, side), 22 * TWICE)
    for number, opening in enumerate(MOUTHS):
        card = Image.fromarray(sitter(size=side).picture(saying(opening)))
        ground.paste(card, ((EDGE + number * (CARD + GAP)) * TWICE, TOP * TWICE), corners)
    draw, width = ImageDraw.Draw(ground), len(MOUTHS) * (CARD + GAP) - GAP
    for number, loud in enumerate(loudness(SOUND)):
        x, reach = EDGE + 5 + number * (width - 10) / (SOUND - 1), 46 * loud * (0.35 + 0.65 * number / SOUND)
        bar(draw, [(x, 404 - reach), (x, 404 + reach)], 7, DAY, TWICE)


def title(ground: Image.Image) -> None:
    draw, left = ImageDraw.Draw(ground), (EDGE + len(MOUTHS) * (CARD + GAP) + 18) * TWICE
    for text, size, middle in LINES:
        draw.text((left, middle * TWICE), text, WHITE, ImageFont.load_default(size * TWICE), "lm")
    draw.text((left, 404 * TWICE), "for ComfyUI", DAY, ImageFont.load_default(36 * TWICE), "lm")


def ramp(top: Color, bottom: Color, size: tuple[int, int]) -> Image.Image:
    mask = Image.linear_gradient("L").resize(size)
    return Image.composite(Image.new("RGB", size, bottom), Image.new("RGB", size, top), mask)


def rounded_corners(size: tuple[int, int], radius: int) -> Image.Image:
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, size[0] - 1, size[1] - 1), radius, 255)
    return mask


if __name__ == "__main__":
    main()
