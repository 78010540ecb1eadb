"""The icon and the banner that ComfyUI's registry shows, drawn like the demo's portrait: `python -m demo.shop`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import cos, pi, sin

from PIL import Image, ImageDraw, ImageFont

from .comfyui import ROOT
from .portrait import FINE, FLOOR, LIP, LIP_LINE, SHADE, SIDE, USUAL, WALL, WHITE, Canvas, Color, behind, eye, head

ASSETS = ROOT / "assets"
ICON, BANNER = 400, (1260, 540)  # a square of at most 400 pixels, and 21:9, as the registry asks

TWICE = 2  # the banner is drawn this many times larger, for smooth edges

DEEP, NIGHT, DAY, INSIDE = (15, 76, 92), (10, 34, 54), (255, 196, 87), (112, 34, 44)
CENTRE, INNER, REACH, BARS, OPEN = (256, 250), 206, 46, 32, 5 / 6  # of the halo of sound; how much of it is drawn
MOUTHS = (0.0, 0.4, 0.8)  # how far open in each picture of the strip
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
    figure = speaker(0.75).image
    ground.paste(figure, mask=figure)
    ground.putalpha(rounded_corners(ground.size, 96 * FINE))
    return ground.resize((ICON, ICON), Image.Resampling.LANCZOS)


def banner() -> Image.Image:
    """Pictures of a video, the sound that they follow, and the name."""
    width, height = BANNER
    ground = ramp(DEEP, NIGHT, (TWICE * width, TWICE * height))
    strip(ground)
    title(ground)
    return ground.resize(BANNER, Image.Resampling.LANCZOS)


# ---- parts


def speaker(openness: float) -> Canvas:
    """The demo's portrait without its wall, its mouth between closed (0) and wide open (1)."""
    canvas = Canvas(0, "RGBA")
    behind(canvas, USUAL)
    head(canvas, USUAL)
    for side in (-1, 1):
        eye(canvas, side, USUAL)
    canvas.line([(246, 308), (256, 314), (266, 308)], SHADE, 6)
    mouth(canvas, openness)
    return canvas


def mouth(canvas: Canvas, openness: float) -> None:
    """The upper lip stays, the lower one goes down and the corners come in."""
    narrow, low = 12 * openness, 356 + 24 * openness
    left, right = 216 + narrow, 296 - narrow
    upper = [(left, 350), (238, 341), (249, 337), (256, 340), (263, 337), (274, 341), (right, 350)]
    canvas.shape([*upper, (280, low + 5), (256, low + 13), (232, low + 5)], LIP)
    if openness:
        canvas.shape(
            [(left + 9, 352), (256, 349), (right - 9, 352), (274, low - 1), (256, low + 3), (238, low - 1)], INSIDE
        )
        canvas.shape([(left + 16, 353), (256, 350), (right - 16, 353), (270, 359), (256, 361), (242, 359)], WHITE)
    else:
        canvas.line([(left - 4, 347), (230, 351), (256, 355), (282, 351), (right + 4, 347)], LIP_LINE, 4)


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
    """Of a made-up sentence: 0.2 to 1."""
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
    for number, openness in enumerate(MOUTHS):
        card = Canvas(WALL).image
        card.paste(ramp(WALL, FLOOR, card.size))
        figure = speaker(openness).image
        card.paste(figure, mask=figure)
        at = (EDGE + number * (CARD + GAP)) * TWICE, TOP * TWICE
        ground.paste(card.resize((side, side), Image.Resampling.LANCZOS), at, corners)
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
