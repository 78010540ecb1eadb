"""Thumbnails of the example workflows for the list of templates, each a drawing of what its workflow does.

`python -m tools.pictures.thumbnails` draws them anew; with names, only those. Frames of puppet and animatic are results
of their workflows; the others are drawings, none is a result of a model.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from joyhallo.drawn.drawing import SIDE, Color, Sides
from joyhallo.faces.boxes import Box
from joyhallo.film.write import as_floats
from joyhallo.methods.puppet.face import Features
from joyhallo.methods.puppet.hearing import listen, open_ear
from joyhallo.methods.puppet.perform import Direction, Spoken, part, placed, poses
from joyhallo.methods.puppet.render import Puppet
from joyhallo.sound.audio import prepare, read

from ..comfyui.server import ROOT
from ..demo_model.bundle import FOLDER as EXAMPLES
from . import clip
from .portrait import couple, face_box, lip_box, mask, portrait, saying, sitter, speaking

FOLDER = ROOT / "example_workflows"
SIZE = (640, 480)
FINE = 2  # drawn this many times larger, for smooth edges

NIGHT, PAPER = (30, 33, 40), (238, 241, 243)
GOLD, ROSE, SKY, LEAF = (244, 190, 84), (226, 108, 130), (92, 170, 226), (122, 190, 128)


class Sheet:
    """A card; places and sizes are in the pixels of the finished picture."""

    def __init__(self, color: Color = NIGHT):
        self.image = Image.new("RGB", (SIZE[0] * FINE, SIZE[1] * FINE), color)
        self.draw = ImageDraw.Draw(self.image)

    def paste(self, picture: Image.Image, left: float, top: float, width: float, corner: float = 14) -> None:
        height = width * picture.height / picture.width
        size = round(width * FINE), round(height * FINE)
        shape = Image.new("L", size)
        ImageDraw.Draw(shape).rounded_rectangle((0, 0, size[0] - 1, size[1] - 1), corner * FINE, 255)
        self.image.paste(picture.resize(size, Image.Resampling.LANCZOS), (round(left * FINE), round(top * FINE)), shape)

    def box(self, box: Sides, color: Color, width: float = 0, corner: float = 10) -> None:
        """Filled, or a frame of a width."""
        place, radius = [value * FINE for value in box], corner * FINE
        if width:
            self.draw.rounded_rectangle(place, radius, outline=color, width=round(width * FINE))
        else:
            self.draw.rounded_rectangle(place, radius, fill=color)

    def line(self, points: Iterable[tuple[float, float]], color: Color, width: float) -> None:
        self.draw.line([(x * FINE, y * FINE) for x, y in points], color, round(width * FINE), joint="curve")

    def sound(self, box: Sides, color: Color, seed: int = 0, bars: int = 28) -> None:
        """Bars as loud as syllables."""
        left, top, right, bottom = box
        rng, middle, step = np.random.default_rng(seed), (top + bottom) / 2, (right - left) / bars
        for bar in range(bars):
            loud = (0.25 + 0.75 * abs(np.sin(bar * 0.55 + seed))) * rng.uniform(0.45, 1) * (bottom - top) / 2
            x = left + (bar + 0.25) * step
            self.box((x, middle - loud, x + step / 2, middle + loud), color, corner=step / 4)

    def triangle(self, x: float, y: float, size: float, color: Color) -> None:
        """A play button's triangle."""
        tip = [(x - size / 2, y - size * 0.6), (x + size * 0.6, y), (x - size / 2, y + size * 0.6)]
        self.draw.polygon([(x * FINE, y * FINE) for x, y in tip], color)

    def finished(self) -> Image.Image:
        return self.image.resize(SIZE, Image.Resampling.LANCZOS)


def scaled(box: Box, left: float, top: float, scale: float) -> Sides:
    return left + box.left * scale, top + box.top * scale, left + box.right * scale, top + box.bottom * scale


# ---- one for each workflow


def quick_start() -> Sheet:
    """A picture and a sound become a video."""
    sheet = Sheet()
    sheet.paste(speaking(0), 28, 66, 200)
    sheet.sound((28, 300, 228, 414), GOLD, bars=20)
    sheet.line([(252, 240), (300, 240)], PAPER, 6)
    sheet.triangle(306, 240, 26, PAPER)
    sheet.paste(speaking(0.45), 346, 108, 266)
    sheet.box((346, 108, 612, 374), GOLD, 4, corner=14)
    return sheet


def long_video() -> Sheet:
    """Frame upon frame, and a curve that rests where nobody speaks."""
    sheet = Sheet()
    for number, wide in enumerate((0, 0.3, 0.6, 0.2, 0.5, 0.15, 0, 0, 0.4, 0.6, 0.25, 0)):
        row, column = divmod(number, 6)
        sheet.paste(speaking(wide), 16 + 102 * column, 40 + 112 * row, 96, corner=6)
    for row in range(2):
        for hole in range(20):
            x, y = 18 + 31 * hole, 26 + 226 * row
            sheet.box((x, y, x + 14, y + 8), (84, 90, 102), corner=2)
    t = np.linspace(0, 1, 400)
    spoken = np.clip(1.4 * np.sin(np.pi * (t * 3 % 1.0)), 0, 1) * (np.abs(t - 0.5) > 0.1)
    height = 430 - 130 * spoken * (0.7 + 0.3 * np.abs(np.sin(60 * t)))
    sheet.line([(16, 430), (624, 430)], (84, 90, 102), 2)
    sheet.line(zip(16 + 608 * t, height, strict=True), GOLD, 4)
    return sheet


def edit_masks() -> Sheet:
    """Masks of lips and face, and a brush."""
    sheet, left, top, scale = Sheet(), 160, 20, 440 / SIDE
    picture = speaking(0)
    for box, color, strength, blur in ((face_box(), GOLD, 0.35, 12), (lip_box(), SKY, 0.67, 6)):
        region = mask(box).point(lambda value, strength=strength: value * strength)
        picture.paste(color, mask=region.filter(ImageFilter.GaussianBlur(blur)))
    sheet.paste(picture, left, top, SIDE * scale)
    end = scaled(lip_box(), left, top, scale)
    sheet.box(end, PAPER, 4, corner=26)
    sheet.line([(end[2] - 4, end[3] - 6), (end[2] + 90, end[3] + 62)], (120, 84, 58), 16)
    sheet.line([(end[2] - 8, end[3] - 10), (end[2] + 26, end[3] + 15)], SKY, 18)
    for place, color in enumerate((SKY, GOLD, (150, 110, 200))):
        sheet.box((44, 130 + 84 * place, 104, 190 + 84 * place), color)
    return sheet


def paste_back() -> Sheet:
    """A wide picture in which only one square moves."""
    sheet, left, top, scale = Sheet(), 20, 90, 600 / (2 * SIDE)
    still = ImageEnhance.Brightness(ImageEnhance.Color(couple()).enhance(0.4)).enhance(0.8)
    window = (76, 92, 436, 452)
    still.paste(couple(0.45).crop(window), window[:2])
    sheet.paste(still, left, top, 600)
    sheet.box(scaled(Box(*window), left, top, scale), GOLD, 5, corner=4)
    sheet.sound((40, 404, 600, 456), GOLD, bars=44)
    return sheet


def two_speakers() -> Sheet:
    """Each has a voice of its own."""
    sheet = Sheet()
    sheet.paste(couple(0.45), 20, 34, 600)
    sheet.sound((36, 350, 300, 444), GOLD, bars=22)
    sheet.line([(340, 397), (604, 397)], ROSE, 5)
    for left, color in ((20, GOLD), (320, ROSE)):
        sheet.box((left, 34, left + 300, 334), color, 4, corner=14)
    return sheet


def upscale_and_background() -> Sheet:
    """A small face before a wall, and a large one before a sky."""
    sheet, small = Sheet(), 40
    coarse = speaking(0.4).resize((small, small), Image.Resampling.BOX).resize((SIDE, SIDE), Image.Resampling.NEAREST)
    sheet.paste(coarse, 36, 150, 180)
    sheet.line([(236, 240), (276, 240)], PAPER, 6)
    sheet.triangle(282, 240, 24, PAPER)
    sheet.paste(before_a_sky(0.4), 316, 92, 296)
    return sheet


def before_a_sky(opening: float) -> Image.Image:
    figure = Image.fromarray(sitter().figure(saying(opening)))
    ramp = Image.linear_gradient("L").resize(figure.size)
    sky = Image.composite(Image.new("RGB", figure.size, (250, 214, 170)), Image.new("RGB", figure.size, SKY), ramp)
    ImageDraw.Draw(sky).ellipse((360, 60, 450, 150), (255, 244, 214))
    sky.paste(figure, mask=figure)
    return sky


def hallo() -> Sheet:
    """Head, face and lips are heard apart."""
    sheet = Sheet()
    sheet.paste(speaking(0.35), 26, 70, 340)
    for row, (color, seed) in enumerate((((150, 110, 200), 1), (GOLD, 2), (SKY, 3))):
        top = 80 + 116 * row
        sheet.box((400, top, 612, top + 92), (46, 50, 60))
        sheet.sound((414, top + 8, 598, top + 84), color, seed, bars=18)
    return sheet


def demo() -> Sheet:
    """Masks drawn by hand, and a processor."""
    sheet, scale = Sheet(), 300 / SIDE
    sheet.paste(speaking(0), 26, 90, 300)
    sheet.box(scaled(face_box(), 26, 90, scale), PAPER, 4, corner=2)
    sheet.box(scaled(lip_box(), 26, 90, scale), SKY, 4, corner=2)
    for pin in range(6):
        at = 404 + 30 * pin
        sheet.box((at, 122, at + 12, 358), GOLD, corner=3)
        sheet.box((360, at - 238, 596, at - 226), GOLD, corner=3)
    sheet.box((384, 146, 572, 334), (62, 68, 80), corner=12)
    sheet.sound((410, 190, 546, 290), LEAF, bars=11)
    return sheet


def puppet() -> Sheet:
    """A picture on strings speaks."""
    sheet, (left, top, side) = Sheet(), (120, 96, 268)
    frames = spoken()
    widest = max(frames, key=lambda frame: frame[0])[1]
    sheet.paste(widest, left, top, side)
    for x in (0.14, 0.38, 0.62, 0.86):
        sheet.line([(left + side * (0.5 + 0.6 * (x - 0.5)), 52), (left + side * x, top)], PAPER, 2)
    sheet.box((left + 20, 38, left + side - 20, 54), (120, 84, 58), corner=6)
    for row, (_, frame) in enumerate(apart(frames, 4)):
        sheet.paste(frame.crop(MOUTH), 420, 40 + 84 * row, 180, corner=8)
    sheet.sound((40, 392, 600, 456), GOLD, bars=44)
    return sheet


def animatic() -> Sheet:
    """The timing first, the film later."""
    sheet = Sheet()
    for column, (_, frame) in enumerate(apart(spoken(), 5)):
        still = ImageEnhance.Brightness(ImageEnhance.Color(frame).enhance(0)).enhance(0.35)
        sheet.paste(frame, 24 + 120 * column, 60, 112, corner=6)
        sheet.paste(still, 24 + 120 * column, 300, 112, corner=6)
    sheet.sound((24, 196, 616, 276), GOLD, bars=50)
    for column in range(5):
        sheet.box((24 + 120 * column, 36, 136 + 120 * column, 42), GOLD, corner=3)
        sheet.box((24 + 120 * column, 432, 136 + 120 * column, 438), (84, 90, 102), corner=3)
    return sheet


def redub() -> Sheet:
    """The same frames twice: with their own mouths, and with those of another recording."""
    sheet, (before, after) = Sheet(), filmed()
    for column, number in enumerate(MOMENTS):
        left = 24 + 120 * column
        sheet.paste(before[number], left, 60, 112, corner=6)
        sheet.paste(after[number], left, 308, 112, corner=6)
        sheet.box(scaled(Box(*MOUTH), left, 308, 112 / SIDE), GOLD, 3, corner=5)
        sheet.line([(left + 56, 196), (left + 56, 282)], PAPER, 4)
        sheet.line([(left + 42, 264), (left + 56, 282), (left + 70, 264)], PAPER, 4)
    sheet.sound((24, 14, 616, 50), (110, 116, 128), seed=2, bars=60)
    sheet.sound((24, 432, 616, 468), GOLD, bars=60)
    return sheet


def redub_another_model() -> Sheet:
    """A pile of frames from somewhere, and one whose mouth is made anew."""
    sheet, (before, after) = Sheet(), filmed()
    for place, number in enumerate(MOMENTS[:3]):
        still = ImageEnhance.Brightness(ImageEnhance.Color(before[number]).enhance(0.2)).enhance(0.5 + 0.2 * place)
        sheet.paste(still, 26 + 20 * place, 130 - 20 * place, 190)
    sheet.line([(276, 205), (316, 205)], PAPER, 6)
    sheet.triangle(322, 205, 24, PAPER)
    sheet.paste(after[WIDEST], 354, 70, 262)
    sheet.box(scaled(Box(*MOUTH), 354, 70, 262 / SIDE), GOLD, 4, corner=8)
    sheet.sound((40, 376, 600, 452), GOLD, bars=44)
    return sheet


def sharper_lips() -> Sheet:
    """A whole face, and its mouth before and after."""
    sheet, (before, after) = Sheet(), filmed()
    sheet.paste(after[WIDEST], 28, 50, 316)
    sheet.box(scaled(Box(*MOUTH), 28, 50, 316 / SIDE), GOLD, 4, corner=8)
    blurred = before[MOMENTS[0]].filter(ImageFilter.GaussianBlur(7))
    sheet.paste(blurred.crop(MOUTH), 380, 64, 232, corner=10)
    sheet.triangle(496, 212, 30, PAPER)
    sheet.paste(after[WIDEST].crop(MOUTH), 380, 252, 232, corner=10)
    sheet.box((380, 252, 612, 355), GOLD, 4, corner=10)
    sheet.sound((28, 388, 612, 460), GOLD, bars=48)
    return sheet


def redub_latentsync() -> Sheet:
    """Out of noise a mouth becomes clearer from step to step."""
    sheet, (_, after) = Sheet(), filmed()
    face, noise = np.asarray(after[WIDEST], np.float32), np.random.default_rng(4).normal(128, 70, (SIDE, SIDE, 3))
    for step, share in enumerate((0.95, 0.7, 0.4, 0.15)):
        clouded = Image.fromarray((face * (1 - share) + noise * share).clip(0, 255).astype(np.uint8))
        shown = after[WIDEST].copy()
        shown.paste(clouded.crop(BELOW), BELOW[:2])
        sheet.paste(shown, 24 + 96 * step, 96 + 22 * step, 150 + 16 * step)
    sheet.paste(after[WIDEST], 392, 60, 224)
    sheet.box(scaled(Box(*BELOW), 392, 60, 224 / SIDE), GOLD, 4, corner=8)
    sheet.sound((40, 392, 600, 456), GOLD, bars=44)
    return sheet


def redub_musetalk() -> Sheet:
    """The lower half of a face is covered, and in one step there is another one."""
    sheet, (before, after) = Sheet(), filmed()
    covered = before[MOMENTS[0]].copy()
    covered.paste(NIGHT, BELOW)
    sheet.paste(covered, 28, 70, 250)
    sheet.box(scaled(Box(*BELOW), 28, 70, 250 / SIDE), SKY, 4, corner=8)
    sheet.line([(296, 195), (326, 195)], PAPER, 6)
    sheet.triangle(334, 195, 24, PAPER)
    sheet.paste(after[WIDEST], 362, 70, 250)
    sheet.sound((40, 376, 600, 452), SKY, bars=44)
    return sheet


def restore_faces() -> Sheet:
    """A blurred face is lifted out of its picture, and goes back into it sharp."""
    sheet, (_, after) = Sheet(), filmed()
    face, blurred = (106, 106, 406, 406), after[WIDEST].filter(ImageFilter.GaussianBlur(6))
    sheet.paste(blurred, 28, 28, 200)
    sheet.box(scaled(Box(*face), 28, 28, 200 / SIDE), ROSE, 4, corner=8)
    sheet.paste(after[WIDEST], 28, 252, 200)
    sheet.box(scaled(Box(*face), 28, 252, 200 / SIDE), LEAF, 4, corner=8)
    sheet.paste(blurred.crop(face), 268, 106, 160)
    sheet.paste(after[WIDEST].crop(face), 452, 106, 160)
    sheet.box((268, 106, 428, 266), ROSE, 4, corner=14)
    sheet.box((452, 106, 612, 266), LEAF, 4, corner=14)
    sheet.line([(236, 128), (262, 150)], PAPER, 4)
    sheet.triangle(440, 186, 18, PAPER)
    sheet.line([(532, 274), (532, 352), (240, 352)], PAPER, 4)
    sheet.line([(256, 340), (240, 352), (256, 364)], PAPER, 4)
    sheet.sound((268, 400, 612, 452), GOLD, bars=28)
    return sheet


def which_is_better() -> Sheet:
    """Two videos, and how they do in four measures."""
    sheet, (before, after) = Sheet(), filmed()
    for left, picture, color, shares in (
        (28, after[WIDEST], LEAF, (0.95, 0.8, 0.7, 0.9)),
        (342, before[MOMENTS[1]], ROSE, (0.25, 0.7, 0.85, 0.5)),
    ):
        sheet.paste(picture, left, 28, 270)
        sheet.box((left, 28, left + 270, 298), color, 5, corner=14)
        for row, share in enumerate(shares):
            top = 326 + 34 * row
            sheet.box((left, top, left + 270, top + 20), (58, 63, 74), corner=8)
            sheet.box((left, top, left + 270 * share, top + 20), color, corner=8)
    return sheet


def align_sound() -> Sheet:
    """A mouth that opens, a sound that comes late, and the same sound moved to where it belongs."""
    sheet, (_, after) = Sheet(), filmed()
    for column, number in enumerate(MOMENTS):
        left = 24 + 120 * column
        sheet.paste(after[number], left, 36, 112, corner=6)
        sheet.line([(left + 56, 156), (left + 56, 436)], (70, 76, 88), 2)
    sheet.sound((112, 196, 616, 268), ROSE, bars=42)
    sheet.line([(100, 232), (44, 232)], PAPER, 5)
    sheet.line([(62, 216), (44, 232), (62, 248)], PAPER, 5)
    sheet.sound((24, 332, 528, 436), LEAF, bars=42)
    return sheet


MOUTH = (166, 322, 346, 402)  # of the portrait
BELOW = (136, 276, 376, 436)  # of the portrait: the lower half of the face
MOMENTS = (14, 20, 26, 33, 40)  # frames of the example film
WIDEST = 33


@cache
def filmed() -> tuple[list[Image.Image], list[Image.Image]]:
    """The example film up to the last moment that is shown, and the same heads with mouths that say the sentence."""
    speech, until = EXAMPLES / "speech.wav", MOMENTS[-1] + 1
    own, other = clip.moving(speech), poses(listen(open_ear(), prepare(*read(speech))), Direction(seed=42))
    mouth = part(other, slice(0, until), torch.device("cpu")).mouth
    first = part(own, slice(0, until), torch.device("cpu"))
    before, after = (
        [Image.fromarray(frame.numpy()) for batch in clip.drawn(pose) for frame in batch]
        for pose in (first, replace(first, mouth=mouth))
    )
    return before, after


@cache
def spoken() -> list[tuple[float, Image.Image]]:
    """The portrait says the example's sentence as in Puppet Portrait: how far the mouth is open, and the frame."""
    picture = torch.from_numpy(np.array(portrait()))
    puppet = Puppet(as_floats(picture).permute(2, 0, 1), Features.of_mesh(sitter().mesh()))
    pose = poses(listen(open_ear(), prepare(*read(EXAMPLES / "speech.wav"))), Direction(seed=42))
    told = list[tuple[float, Image.Image]]()
    for at in range(0, len(pose), STEP):
        chunk = Spoken(at, at, puppet.frames(part(pose, slice(at, at + 1), picture.device)))
        (frame,) = (made[0] for made in placed(puppet, picture, chunk))
        told.append((float(pose.mouth.opening[at]), Image.fromarray(frame.numpy())))
    return told


STEP = 2  # frames of the film from one to the next


def apart(frames: list[tuple[float, Image.Image]], count: int) -> list[tuple[float, Image.Image]]:
    """As many as wanted, in their order, whose mouths are open from shut to wide."""
    order = sorted(range(len(frames)), key=lambda number: frames[number][0])
    places = np.linspace(0, len(order) - 1, count).round().astype(int)
    return [frames[number] for number in sorted(order[place] for place in places)]


DRAWN: dict[str, Callable[[], Sheet]] = {
    draw.__name__: draw
    for draw in (
        *(puppet, animatic, quick_start, long_video, edit_masks, paste_back, two_speakers, upscale_and_background),
        *(hallo, demo, redub, redub_latentsync, redub_musetalk, redub_another_model, sharper_lips, restore_faces),
        *(which_is_better, align_sound),
    )
}


def write(names: Iterable[str] = DRAWN, folder: Path = FOLDER) -> None:
    for name in names:
        DRAWN[name]().finished().save(folder / f"{name}.jpg", quality=88, optimize=True, progressive=True)


if __name__ == "__main__":
    write(sys.argv[1:] or DRAWN)
