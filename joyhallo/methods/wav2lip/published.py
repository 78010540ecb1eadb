"""PUBLISHED: files of Wav2Lip, under the names that users choose.

Its authors publish them where only a browser gets them; these are copies that others keep, to the byte of one size.
"""

from __future__ import annotations

from ...files.download import Published

LICENCE = "for research and personal use only, no commercial use"


def _copy(name: str) -> Published:
    return Published(f"wav2lip/{name}", "camenduru/Wav2Lip", f"checkpoints/{name}", 435_801_865, licence=LICENCE)


PUBLISHED = {file.place: (file,) for file in map(_copy, ("wav2lip_gan.pth", "wav2lip.pth"))}
