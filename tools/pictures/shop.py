"""What people see first: the icon, the banner of the registry, and the moving picture of the READMEs.

    make demo && python -m tools.pictures.shop

The banner and the moving picture show the film that `make demo` made, and the sound that was spoken in it. Only the
icon is drawn, like the demo's portrait.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import cos, pi, sin
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from joyhallo.config import FPS
from joyhallo.drawn.drawing import FINE, SIDE, WHITE, Color
from joyhallo.evaluation.drawn.mouths import Gauge
from joyhallo.evaluation.figures import Film
from joyhallo.film import read as films
from joyhallo.sound.audio import levels, prepare, read

from ..comfyui.server import ROOT
from ..demo import MODEL, result
from ..demo_model.bundle import FOLDER
from .portrait import portrait, saying, sitter

ASSETS = ROOT / "assets"
SPEAKS = ROOT / "docs" / "speaks.webp"
ICON, BANNER = 400, (1260, 540)  # a square of at most 400 pixels, and 21:9, as the registry asks

TWICE = 2  # the banner is drawn this many times larger, for smooth edges

DEEP, NIGHT, DAY = (15, 76, 92), (10, 34, 54), (255, 196, 87)
DIM = (74, 116, 130)
CENTRE, INNER, REACH, BARS, OPEN = (256, 250), 206, 46, 32, 5 / 6  # of the halo of sound; how much of it is drawn
SHOWN = (0.0, 0.8, 0.97)  # of all openings of the mouth, from shut to wide, those in the strip
CARD, GAP, EDGE, TOP = 236, 20, 48, 78  # of these pictures, in pixels of the banner
COUNT, QUIET = 69, 50.0  # frames of the demo, and dB below full scale that count as silence
PICTURE, SPACE, WAVE = 300, 16, 72  # of the moving picture, in pixels
LINES = (("JoyHallo", 92, 176), ("One portrait, one recording:", 27, 268), ("a video that speaks.", 27, 304))


def main() -> None:
    ASSETS.mkdir(exist_ok=True)
    icon().save(ASSETS / "icon.png", optimize=True)
    film, loud = made(result(MODEL)), spoken()
    banner(film, loud).save(ASSETS / "banner.png", optimize=True)
    first, *others = moving(film, loud)
    first.save(SPEAKS, save_all=True, append_images=others, duration=1000 // FPS, loop=0, quality=70, method=6)


def made(path: Path) -> Film:
    frames = [(batch * 255).round().byte().numpy() for batch in films.Film(path).frames()]
    return np.concatenate(frames)


def spoken() -> list[float]:
    """The loudness of the demo's sentence in each video frame: 0 to 1."""
    level = levels(prepare(*read(FOLDER / "speech.wav")).samples, COUNT)
    return (1 + level / QUIET).clamp(0, 1).tolist()


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


def banner(film: Film, loud: Sequence[float]) -> Image.Image:
    """Frames of the film, the sound that they follow, and the name."""
    width, height = BANNER
    ground = ramp(DEEP, NIGHT, (TWICE * width, TWICE * height))
    strip(ground, film, loud)
    title(ground)
    return ground.resize(BANNER, Image.Resampling.LANCZOS)


def moving(film: Film, loud: Sequence[float]) -> Iterator[Image.Image]:
    """The portrait beside the film, and the sound below with a mark where it is."""
    width, top = 2 * PICTURE + 3 * SPACE, PICTURE + 2 * SPACE
    ground = ramp(DEEP, NIGHT, (width, top + WAVE + SPACE))
    corners = rounded_corners((PICTURE, PICTURE), 14)
    ground.paste(portrait().resize((PICTURE, PICTURE)), (SPACE, SPACE), corners)
    for number, frame in enumerate(film):
        picture = ground.copy()
        picture.paste(Image.fromarray(frame).resize((PICTURE, PICTURE)), (PICTURE + 2 * SPACE, SPACE), corners)
        sound(ImageDraw.Draw(picture), (SPACE, top, width - SPACE, top + WAVE), loud, number)
        yield picture


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


def strip(ground: Image.Image, film: Film, loud: Sequence[float]) -> None:
    """Frames of a film, and below them the sound that they follow."""
    side = CARD * TWICE
    corners = rounded_corners((side, side), 22 * TWICE)
    for number, frame in enumerate(chosen(film)):
        card = Image.fromarray(frame).resize((side, side), Image.Resampling.LANCZOS)
        ground.paste(card, ((EDGE + number * (CARD + GAP)) * TWICE, TOP * TWICE), corners)
    width = len(SHOWN) * (CARD + GAP) - GAP
    sound(ImageDraw.Draw(ground), (EDGE, 358, EDGE + width, 450), loud, len(loud), TWICE)


def chosen(film: Film) -> Film:
    openings = Gauge.of(sitter(size=film.shape[1])).opening(film)
    return film[[int(np.abs(openings - np.quantile(openings, share)).argmin()) for share in SHOWN]]


def sound(
    draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], loud: Sequence[float], heard: int, fine: int = 1
) -> None:
    """A bar for each frame; those that were heard shine."""
    left, top, right, bottom = box
    middle, step = (top + bottom) / 2, (right - left) / len(loud)
    for number, level in enumerate(loud):
        x, reach = left + (number + 0.5) * step, max(1, level * (bottom - top) / 2)
        bar(draw, [(x, middle - reach), (x, middle + reach)], 0.55 * step, DAY if number <= heard else DIM, fine)


def title(ground: Image.Image) -> None:
    draw, left = ImageDraw.Draw(ground), (EDGE + len(SHOWN) * (CARD + GAP) + 18) * TWICE
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
