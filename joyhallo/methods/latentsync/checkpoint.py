"""Files of LatentSync -> its UNet."""

from __future__ import annotations

from pathlib import Path

from ...files.checkpoint import Checkpoint, check, shapes, weights_of
from ...files.contents import WeightsError
from ...libraries import brief
from .. import ALL, LATENTSYNC
from .network import Sizes, UNet

WANTED = "LatentSync's UNet of version 1.5 or 1.6: latentsync_unet.pt."


def open_checkpoint(path: str | Path) -> Checkpoint[UNet]:
    """Open a UNet of 1.5 or 1.6, which no file tells apart, or raise a WeightsError that says what it is instead."""
    path = Path(path)
    state = weights_of(path, WANTED, [LATENTSYNC.words], ALL)
    try:
        sizes = Sizes.of(state)
    except (LookupError, ValueError) as error:
        raise WeightsError(
            f"{path.name} looks like {LATENTSYNC.words}, but its sizes cannot be told ({brief(error)}). Expected "
            f"{WANTED}"
        ) from error
    check(path, state, shapes(lambda: UNet(sizes)), LATENTSYNC.words)
    return Checkpoint(lambda ops: UNet(sizes, ops), state)
