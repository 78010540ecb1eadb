"""PUBLISHED: the files of all methods, under the names that users choose."""

from __future__ import annotations

from .hallo.published import MODELS as HALLOS
from .hallo.published import PUBLISHED as OF_HALLO
from .latentsync.published import MODELS as LATENTSYNCS
from .latentsync.published import PUBLISHED as OF_LATENTSYNC
from .musetalk.published import MODELS as MUSETALKS
from .musetalk.published import PUBLISHED as OF_MUSETALK
from .ultralight.published import PUBLISHED as OF_ULTRALIGHT
from .wav2lip.published import PUBLISHED as OF_WAV2LIP

# Of a VAE that several name, Hallo's is the one.
PUBLISHED = {**OF_ULTRALIGHT, **OF_LATENTSYNC, **OF_MUSETALK, **OF_WAV2LIP, **OF_HALLO}
# The names of methods, by those of their published files
OF_PORTRAIT = HALLOS
OF_REDUB = {
    **dict.fromkeys(OF_WAV2LIP, "Wav2Lip"),
    **dict.fromkeys(LATENTSYNCS, "LatentSync"),
    **dict.fromkeys(MUSETALKS, "MuseTalk"),
}
