"""What people see first: the icon, the banner of the registry, and the moving pictures of the READMEs.

    make demo && python -m tools.pictures.shop face_landmarker.task

Banner and moving pictures show a photograph that Puppet Portrait makes speak, the film that the small model made in
`make demo`, and the sound that was spoken in both. Only the icon is drawn, like the demo's portrait.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from math import cos, pi, sin
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from joyhallo.config import FPS
from joyhallo.drawn.drawing import FINE, SIDE, WHITE, Color
from joyhallo.evaluation.drawn.mouths import Gauge
from joyhallo.evaluation.figures import Film
from joyhallo.faces.boxes import Picture
from joyhallo.film import read as films
from joyhallo.sound.audio import levels, prepare, read

from ..comfyui.server import ROOT
from ..demo import MODEL, result
from ..demo_model.bundle import FOLDER
from .photograph import photograph
from .portrait import portrait, saying, sitter

ASSETS = ROOT / "assets"
SPEAKS, PHOTOGRAPH = ROOT / "docs" / "speaks.webp", ROOT / "docs" / "photograph.webp"
ICON, BANNER = 400, (1260, 540)  # a square of at most 400 pixels, and 21:9, as the registry asks

TWICE = 2  # the banner is drawn this many times larger, for smooth edges

DEEP, NIGHT, DAY = (15, 76, 92), (10, 34, 54), (255, 196, 87)
DIM = (74, 116, 130)
CENTRE, INNER, REACH, BARS, OPEN = (256, 250), 206, 46, 32, 5 / 6  # of the halo of sound; how much of it is drawn
MOMENTS = (8, 45)  # of the photograph's film, those in the strip
OPEN_BY = 0.75  # share of the drawn frames whose mouths are less open than the one in the strip
CAPTIONS = ("Puppet Portrait, a photograph", "the small model, a drawing")
CARD, GAP, EDGE, TOP = 236, 20, 48, 78  # of these pictures, in pixels of the banner
COUNT, QUIET = 69, 50.0  # frames of the demo, and dB below full scale that count as silence
PICTURE, SPACE, WAVE = 300, 16, 72  # of the moving picture, in pixels
LINES = (("JoyHallo", 92, 176), ("One picture, one recording:", 27, 268), ("a video that speaks.", 27, 304))


def main() -> None:
    ASSETS.mkdir(exist_ok=True)
    icon().save(ASSETS / "icon.png", optimize=True)
    still, photo = photograph(Path(sys.argv[1]), CARD * TWICE)
    film, loud = made(result(MODEL)), spoken()
    banner([*photo[list(MOMENTS)], speaking_frame(film)], loud).save(ASSETS / "banner.png", optimize=True)
    animate(PHOTOGRAPH, Image.fromarray(still[0]), photo, loud)
    animate(SPEAKS, portrait(), film, loud)


def animate(path: Path, still: Image.Image, film: Film, loud: Sequence[float]) -> None:
    first, *others = moving(still, film, loud)
    first.save(path, save_all=True, append_images=others, duration=1000 // FPS, loop=0, quality=70, method=6)


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


def banner(frames: Sequence[Picture], loud: Sequence[float]) -> Image.Image:
    """Frames of films, the sound that they follow, and the name."""
    width, height = BANNER
    ground = ramp(DEEP, NIGHT, (TWICE * width, TWICE * height))
    strip(ground, frames, loud)
    title(ground)
    return ground.resize(BANNER, Image.Resampling.LANCZOS)


def moving(still: Image.Image, film: Film, loud: Sequence[float]) -> Iterator[Image.Image]:
    """The picture beside the film, and the sound below with a mark where it is."""
    width, top = 2 * PICTURE + 3 * SPACE, PICTURE + 2 * SPACE
    ground = ramp(DEEP, NIGHT, (width, top + WAVE + SPACE))
    corners = rounded_corners((PICTURE, PICTURE), 14)
    ground.paste(still.resize((PICTURE, PICTURE)), (SPACE, SPACE), corners)
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


def strip(ground: Image.Image, frames: Sequence[Picture], loud: Sequence[float]) -> None:
    """Frames with what made them, and below them the sound that they follow."""
    side = CARD * TWICE
    corners, draw = rounded_corners((side, side), 22 * TWICE), ImageDraw.Draw(ground)
    for number, frame in enumerate(frames):
        card = Image.fromarray(frame).resize((side, side), Image.Resampling.LANCZOS)
        ground.paste(card, ((EDGE + number * (CARD + GAP)) * TWICE, TOP * TWICE), corners)
    width = len(frames) * (CARD + GAP) - GAP
    sound(draw, (EDGE, 378, EDGE + width, 462), loud, len(loud), TWICE)
    font = ImageFont.load_default(15 * TWICE)
    for text, place in zip(CAPTIONS, (0, len(MOMENTS)), strict=True):
        draw.text(((EDGE + place * (CARD + GAP)) * TWICE, (TOP + CARD + 18) * TWICE), text, WHITE, font, "lm")


def speaking_frame(film: Film) -> Picture:
    openings = Gauge.of(sitter(size=film.shape[1])).opening(film)
    return film[int(np.abs(openings - np.quantile(openings, OPEN_BY)).argmin())]


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
    draw, left = ImageDraw.Draw(ground), (EDGE + (len(MOMENTS) + 1) * (CARD + GAP) + 18) * TWICE
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
