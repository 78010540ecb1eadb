"""Wav2Lip's judge of lip sync: five lower halves of faces and 200 ms of sound, each as a direction to compare.

It saw colours; the SyncNet that papers measure with is another network.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from ...ops import Ops, TorchOps
from .network import Layer, audio_layers, chain, deepened

FRAMES = 5

FACE_LAYERS = [  # (15, 48, 96) -> (512, 1, 1)
    Layer(3 * FRAMES, 32, 7, padding=3),
    *deepened(Layer(32, 64, 5, (1, 2)), 2),  # one row and one column fewer than halving needs
    *deepened(Layer(64, 128, stride=2), 3),
    *deepened(Layer(128, 256, stride=2), 2),
    *deepened(Layer(256, 512, stride=2), 2),
    Layer(512, 512, stride=2),
    Layer(512, 512, padding=0),
    Layer(512, 512, 1, padding=0),
]


class Expert(nn.Module):
    def __init__(self, ops: Ops = TorchOps):
        super().__init__()
        self.face_encoder = chain(FACE_LAYERS, ops)
        self.audio_encoder = chain(audio_layers(2), ops)

    def forward(self, mel: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
        """mel (n, 1, 80, 16), faces (n, 15, 48, 96) in 0..1, B, G, R of each frame in turn -> two unit vectors (n, 512)

        The sound's comes first, then the face's.
        """
        heard, shown = (part.flatten(1) for part in (self.audio_encoder(mel), self.face_encoder(faces)))
        return F.normalize(heard), F.normalize(shown)


def agreement(heard: Tensor, shown: Tensor) -> Tensor:
    """The cosine (n): from 0 to 1, as no part of either vector is negative; 1 is in sync."""
    return F.cosine_similarity(heard, shown)
