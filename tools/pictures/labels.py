"""The two texts that label a film as made by AI, as masks of their ink: `python -m tools.pictures.labels FONT`.

FONT is NotoSansCJK-Bold.ttc, which Debian's package fonts-noto-cjk holds. It is part of Noto CJK, copyright 2014-2021
Adobe, and licensed under the SIL Open Font License 1.1, which lets pictures of text be passed on under any terms.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from joyhallo.film.label import CAPITAL, TEXTS, mask_path

SIMPLIFIED = 2  # of the fonts in the file: those for Japanese, Korean, simplified and traditional Chinese, ...
PROBE = 1000  # pixels an em, to learn how high the font's capitals are
TINTS = 16  # of grey, which is enough for edges that are scaled down


def main() -> None:
    for text in TEXTS:
        mask = drawn(text, Path(sys.argv[1]))
        mask.quantize(TINTS).save(mask_path(text), optimize=True)


def drawn(text: str, font: Path) -> Image.Image:
    """White on black, trimmed; capitals are CAPITAL pixels high."""
    high = ink("A", ImageFont.truetype(font, PROBE, SIMPLIFIED)).height
    return ink(text, ImageFont.truetype(font, PROBE * CAPITAL / high, SIMPLIFIED))


def ink(text: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    left, above, right, below = map(round, font.getbbox(text))
    picture = Image.new("L", (right - left + 2, below - above + 2))
    ImageDraw.Draw(picture).text((1 - left, 1 - above), text, 255, font)
    solid = np.asarray(picture) > 127
    rows, columns = np.flatnonzero(solid.any(1)), np.flatnonzero(solid.any(0))
    return picture.crop((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))


if __name__ == "__main__":
    main()
