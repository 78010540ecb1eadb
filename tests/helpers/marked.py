"""Films that others made, with their marks in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import av
import numpy as np

MANIFEST, XMP = "d8fec3d61b0e483c92975828877ec481", "be7acfcb97a942e89c71999491e3afac"  # kinds of boxes in an mp4
ENCODERS = {".webm": "libvpx-vp9"}


def marked(path: Path, tags: Mapping[str, str] | None = None, side: int = 32, frames: int = 3) -> Path:
    """Black, with texts under any names."""
    options = {"movflags": "use_metadata_tags"} if path.suffix in (".mp4", ".mov") else {}
    with av.open(str(path), "w", options=options) as file:
        stream = file.add_stream(ENCODERS.get(path.suffix, "libx264"), rate=25)
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        file.metadata.update(tags or {})
        for _ in range(frames):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((side, side, 3), np.uint8), "rgb24")))
        file.mux(stream.encode(None))
    return path


def boxed(path: Path, kind: str, contents: bytes) -> Path:
    """Put a box at the end of an mp4."""
    with path.open("ab") as file:
        file.write((24 + len(contents)).to_bytes(4, "big") + b"uuid" + bytes.fromhex(kind) + contents)
    return path


def tags_of(path: Path) -> dict[str, str]:
    """Names in small letters, which Matroska does not keep."""
    with av.open(str(path)) as file:
        return {key.lower(): text for key, text in file.metadata.items()}
