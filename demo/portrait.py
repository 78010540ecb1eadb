"""A drawn portrait with masks of face and lips: ours to ship, and no photograph."""

from __future__ import annotations

from PIL import Image, ImageChops, ImageDraw, ImageFilter

SIDE = 512
FINE = 4  # drawn this much larger, for smooth edges

SKIN, SHADE, LIPS, MOUTH = (240, 199, 170), (222, 172, 142), (196, 92, 94), (120, 40, 48)
HAIR, IRIS, WHITE = (62, 42, 36), (84, 58, 42), (252, 250, 247)
SHIRT, WALL_ABOVE, WALL_BELOW = (54, 96, 128), (214, 224, 228), (176, 194, 202)

FACE_BOX, LIP_BOX = (148, 110, 364, 408), (196, 316, 316, 392)

Box = tuple[float, float, float, float]


class Canvas:
    """Ellipses and curves in the coordinates of the finished picture."""

    def __init__(self) -> None:
        self.image = Image.new("RGB", (SIDE * FINE, SIDE * FINE))
        self.draw = ImageDraw.Draw(self.image)

    def ellipse(self, box: Box, color: tuple[int, int, int]) -> None:
        self.draw.ellipse([value * FINE for value in box], color)

    def shape(self, points: list[tuple[float, float]], color: tuple[int, int, int]) -> None:
        self.draw.polygon([(x * FINE, y * FINE) for x, y in points], color)

    def arc(self, box: Box, start: float, end: float, color: tuple[int, int, int], width: float) -> None:
        self.draw.arc([value * FINE for value in box], start, end, color, round(width * FINE))

    def finished(self) -> Image.Image:
        return self.image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def portrait() -> Image.Image:
    canvas = Canvas()
    wall(canvas)
    shoulders(canvas)
    head(canvas)
    eyes(canvas)
    nose_and_mouth(canvas)
    return canvas.finished()


def wall(canvas: Canvas) -> None:
    ramp = Image.linear_gradient("L").resize(canvas.image.size)
    below, above = (Image.new("RGB", canvas.image.size, color) for color in (WALL_BELOW, WALL_ABOVE))
    canvas.image.paste(Image.composite(below, above, ramp))


def shoulders(canvas: Canvas) -> None:
    canvas.ellipse((118, 60, 394, 430), HAIR)
    canvas.ellipse((56, 424, 456, 700), SHIRT)
    canvas.shape([(214, 370), (298, 370), (306, 452), (256, 482), (206, 452)], SHADE)


def head(canvas: Canvas) -> None:
    canvas.ellipse((136, 232, 168, 296), SHADE)
    canvas.ellipse((344, 232, 376, 296), SHADE)
    canvas.ellipse((150, 104, 362, 408), SKIN)
    cheeks = Image.new("L", canvas.image.size)
    drawn = ImageDraw.Draw(cheeks)
    for x in (196, 316):
        drawn.ellipse([v * FINE for v in (x - 28, 288, x + 28, 330)], 70)
    canvas.image.paste(LIPS, mask=cheeks.filter(ImageFilter.GaussianBlur(10 * FINE)))
    fringe = Image.new("L", canvas.image.size)
    drawn = ImageDraw.Draw(fringe)
    drawn.ellipse([v * FINE for v in (144, 84, 368, 300)], 255)
    below = Image.new("L", canvas.image.size)
    ImageDraw.Draw(below).ellipse([v * FINE for v in (120, 164, 420, 420)], 255)
    canvas.image.paste(HAIR, mask=ImageChops.subtract(fringe, below))


def eyes(canvas: Canvas) -> None:
    for x in (210, 302):
        canvas.ellipse((x - 25, 238, x + 25, 268), WHITE)
        canvas.ellipse((x - 13, 240, x + 13, 266), IRIS)
        canvas.ellipse((x - 6, 247, x + 6, 259), (20, 14, 12))
        canvas.ellipse((x + 2, 244, x + 8, 250), WHITE)
        canvas.arc((x - 26, 236, x + 26, 272), 190, 350, HAIR, 4)
        canvas.arc((x - 32, 208, x + 32, 250), 205, 335, HAIR, 6)


def nose_and_mouth(canvas: Canvas) -> None:
    canvas.arc((240, 268, 272, 318), 20, 160, SHADE, 5)
    canvas.ellipse((222, 338, 290, 370), LIPS)
    canvas.shape([(222, 352), (239, 339), (256, 346), (273, 339), (290, 352)], LIPS)
    canvas.arc((214, 326, 298, 360), 30, 150, MOUTH, 3)


def mask(box: Box) -> Image.Image:
    drawn = Image.new("L", (SIDE, SIDE))
    ImageDraw.Draw(drawn).rectangle(box, 255)
    return drawn
