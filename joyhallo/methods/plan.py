"""What a run of a redub method does, whatever the method: what each frame shows, and how much of it is made anew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from torch import Tensor

from ..faces.blend import Blend, around_mouths, both, feathered, painted
from ..faces.find import FaceError
from ..faces.track import Track
from ..film.lengths import Long, Short, places
from ..sound.audio import Recording
from ..sound.loudness import levelled
from .redub import Crops, Redubbed, Redubber, Windows, placed
from .script import Script, at_frames, script, speaking, without_noise

FEATHER = 0.1  # of the width and height of a box

Seam = Literal["whole", "feather", "mouth"]
Silence = Literal["model", "hold", "source"]

# As users choose them; both are also what is recorded.
BLENDS: dict[str, Seam] = {"whole box": "whole", "feather": "feather", "mouth": "mouth"}
SHORT: dict[str, Short] = {"loop": "loop", "bounce": "bounce", "hold": "hold", "stretch": "stretch", "stop": "stop"}
LONG: dict[str, Long] = {"cut": "cut", "keep": "keep"}
SILENCES: dict[str, Silence] = {"model": "model", "hold": "hold", "source": "source"}


@dataclass(frozen=True)
class Look:
    """What is wished of the film, whatever the method."""

    short: Short
    long: Long
    blend: Seam
    silence: Silence  # what the mouth does in pauses: hold hears silence, source shows the film's own mouth
    level: bool  # the loudness of what the method hears


@dataclass(frozen=True)
class Plan:
    method: Redubber
    track: Track  # of the pictures that are shown
    crops: Crops
    windows: Windows
    script: Script
    blend: Blend

    def placed(self, chunk: Redubbed) -> Iterator[Tensor]:
        """Its whole pictures."""
        yield placed(chunk, self.crops, self.script, self.blend)


def plan(
    method: Redubber, track: Track, recording: Recording, rate: Fraction, look: Look, mask: Tensor | None = None
) -> Plan:
    """All that can go wrong before the network is needed goes wrong here. mask: as `blended` takes it"""
    spoken = speaking(recording)
    heard = without_noise(recording, spoken) if look.silence == "hold" else recording
    windows = method.listen(levelled(heard) if look.level else heard, rate)
    where = places(len(track), len(windows), look.short, look.long)
    track = track.until(int(where.max()) + 1)
    crops = method.crops(track)
    wished = at_frames(spoken, len(where), float(rate)) if look.silence == "source" else None
    written = script(where, crops.usable, track.cuts, len(windows), wished)
    if not written.spoken.any():
        raise FaceError(_nothing(crops, track))
    return Plan(method, track, crops, windows, written, blended(look.blend, track, mask))


def blended(how: Seam, track: Track, mask: Tensor | None) -> Blend:
    """mask: where alone something may change, one (height, width), or one for each picture."""
    own = None if mask is None else painted(mask)
    if how == "mouth":
        return Blend(own or around_mouths(track), matched=True)
    if how == "feather":
        soft = feathered(FEATHER)
        return Blend(soft if own is None else both(soft, own), matched=True)
    return Blend() if own is None else Blend(own)


def _nothing(crops: Crops, track: Track) -> str:
    if not crops.usable.any():
        return (
            f"None of the {len(track)} pictures shows a face that can be redubbed; look at the contact sheet of Track "
            "Face, or paint a mask over the face."
        )
    return "Nobody speaks in the recording, and silence is set to source, so that nothing would change; choose model."
