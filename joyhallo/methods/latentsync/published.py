"""PUBLISHED: files of LatentSync, under the names that users choose. Their folders tell the versions apart."""

from __future__ import annotations

from ...files.download import Published

LICENCE = "LatentSync's weights are under OpenRAIL++, which forbids some uses"


def _version(number: str) -> Published:
    place = f"latentsync-{number}/latentsync_unet.pt"
    return Published(place, f"ByteDance/LatentSync-{number}", "latentsync_unet.pt", 5_070_000_000, licence=LICENCE)


FILES = (_version("1.6"), _version("1.5"))
MODELS = tuple(file.place for file in FILES)
PUBLISHED = {file.place: (file,) for file in FILES}
