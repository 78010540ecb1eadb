"""Making a model's films of talks with the engine alone; tools.comfyui.films makes them through the nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ...data.dataset import SAMPLES
from ...diffusion.codec import load_codec
from ...diffusion.schedule import Schedule
from ...methods.hallo.checkpoint import Model, load_checkpoint
from ...methods.hallo.portrait import Framing, Wishes, prepare
from ...methods.hallo.presets import PRESETS
from ...methods.hallo.sampling import Chunk, Codec, Portrait, Settings, Windows, animate
from ...sound.audio import Recording
from ...sound.wav2vec2 import encode, load_encoder
from ..figures import Film
from .talks import Talk

NET, VAE, ENCODER = "net.safetensors", "vae.safetensors", "wav2vec2"
REGIONS = ("pose", "expression", "lip")


class EvaluationError(RuntimeError):
    """The evaluation cannot be done; the message is for the user."""


@dataclass(frozen=True)
class How:
    """The settings with which a model is used."""

    size: int = 128
    preset: str = "exact"
    steps: int = 2  # 0: the preset's
    guidance: float = 1.0
    usual: tuple[float, float, float] = (1.0, 1.0, 1.5)  # weights of pose, expression and lip that count as 1

    def settings(self, weights: Sequence[float], seed: int) -> Settings:
        weights = self.weights(weights)
        return PRESETS[self.preset].settings(self.steps, guidance=self.guidance, seed=seed, weights=weights)

    def weights(self, shares: Sequence[float]) -> tuple[float, ...]:
        return tuple(usual * share for usual, share in zip(self.usual, shares, strict=True))


class Maker(Protocol):
    def make(self, talk: Talk, samples: Tensor, weights: Sequence[float], seed: int) -> Film:
        """weights: of pose, expression and lip, in usual ones; as many frames as the samples last"""
        ...


# ---- the engine alone


@dataclass(frozen=True)
class Engine:
    model: Model
    codec: Codec
    hear: Callable[[Tensor], Windows]  # samples at SAMPLE_RATE
    how: How
    whose: Callable[[Talk], Tensor] | None = None  # the identity; nobody's, as where no recogniser is at hand

    def make(self, talk: Talk, samples: Tensor, weights: Sequence[float], seed: int) -> Film:
        return self.film(talk, samples, self.how.settings(weights, seed))

    def film(self, talk: Talk, samples: Tensor, settings: Settings, **further: Any) -> Film:
        """further: what else `animate` takes"""
        return filmed(self.chunks(talk, samples, settings, **further))

    def chunks(self, talk: Talk, samples: Tensor, settings: Settings, **further: Any) -> Iterator[Chunk]:
        return animate(
            self.model.net,
            self.codec,
            Schedule(self.model.config.schedule),
            self.portrait(talk),
            self.hear(samples),
            settings,
            length=len(samples) // SAMPLES,
            **further,
        )

    def portrait(self, talk: Talk) -> Portrait:
        face, lips = (torch.from_numpy(mask).float() / 255 for mask in (talk.face_mask, talk.lip_mask))
        identity = "neutral" if self.whose is None else self.whose(talk)
        wishes = Wishes(face_mask=face, lip_mask=lips, identity=identity)
        return prepare(talk.portrait, wishes=wishes, framing=Framing("whole", (self.how.size, self.how.size))).portrait


def open_engine(folder: Path, how: How) -> Engine:
    return open_parts(folder / NET, folder / VAE, folder / ENCODER, how)


def open_parts(net: Path, codec: Path, encoder: Path, how: How) -> Engine:
    heard = load_encoder(encoder)
    return Engine(
        load_checkpoint(net, dtype=torch.float32),
        load_codec(codec, dtype=torch.float32),
        lambda samples: encode(heard, Recording(samples)),
        how,
    )


def filmed(chunks: Iterable[Chunk]) -> Film:
    return np.concatenate([as_film(chunk.frames.movedim(1, -1)) for chunk in chunks])


def as_film(pictures: Tensor) -> Film:
    """(n, height, width, 3) in 0..1"""
    return pictures.mul(255).round().clamp(0, 255).byte().numpy()


def check(folder: Path) -> None:
    """Raise an EvaluationError unless a model with all its parts lies there."""
    missing = [name for name in (NET, VAE, f"{ENCODER}/config.json") if not (folder / name).is_file()]
    if missing:
        raise EvaluationError(
            f"{folder} lacks {', '.join(missing)}; expected a folder like demo_model/, with {NET}, {VAE} and "
            f"{ENCODER}/."
        )
