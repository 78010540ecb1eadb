"""Training samples: sample number n is a function of the seed and n alone, whichever process draws it.

So several devices share the samples of a step without communication, the number of workers does not matter, and a run
resumes exactly where it was stopped: only the number of the step must be remembered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor
from torch.utils.data import Dataset as TorchDataset

from ..data.dataset import Clip, Problem
from ..diffusion.codec import LATENT_SCALE
from ..methods.hallo.config import NetConfig
from ..methods.hallo.masks import pyramid
from ..sound.wav2vec2 import surrounded
from .recipe import Drop, Recipe


def seeded(seed: int, purpose: str, number: int) -> Generator:
    digest = hashlib.blake2b(f"{seed} {purpose} {number}".encode(), digest_size=8).digest()
    return Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


class Conditions(NamedTuple):
    """The conditions that a sample gets, each a truth value; in a batch (rows)."""

    reads: Tensor  # the reference's keys in its self-attention
    motion: Tensor  # the frames before
    face: Tensor  # the face tokens of the identity, not those of nobody
    locator: Tensor  # where the face is
    audio: Tensor


class Batch(NamedTuple):
    """Samples side by side; of one sample, the same without the first dimension.

    Its pictures are [reference, motion frames..., frames...], as pixels or as what the codec made of them.
    """

    pictures: Tensor  # (rows, pictures, 3, height, width) in -1..1; (rows, 0) if there are latents
    latents: Tensor  # (rows, pictures, 2, channels, height/8, width/8): means and log-variances; or (rows, 0)
    spread: Tensor  # (rows, pictures, channels, height/8, width/8): the noise that draws from these
    noise: Tensor  # (rows, frames, channels, height/8, width/8): what is to be denoised
    timestep: Tensor  # (rows)
    identity: Tensor  # (rows, face_dim)
    known_faces: Tensor  # (rows, references): each reference picture is encoded with its identity, or with nobody's
    locator: Tensor  # (rows, 3, height, width)
    masks: list[Tensor]  # per level (rows, 3, pixels): pose, expression, lip
    windows: Tensor  # (rows, frames, window, layers, channels); (rows, 0) for pictures
    given: Conditions


def conditions(drop: Drop, draws: Sequence[float]) -> Conditions:
    """Drop conditions by random draws, one for each probability in `drop`, in order."""
    shares = (drop.appearance, drop.reference, drop.audio, drop.start, drop.everything)
    appearance, reference, audio, _, everything = (draw < share for draw, share in zip(draws, shares, strict=True))
    return Conditions(
        reads=torch.tensor(not (appearance or reference or everything)),
        motion=torch.tensor(not reference),
        face=torch.tensor(not (appearance or everything)),
        locator=torch.tensor(not everything),
        audio=torch.tensor(not (audio or everything)),
    )


@dataclass(frozen=True)
class Choice:
    """Which frames of a clip a sample is made of."""

    reference: int
    first: int  # of the frames to denoise


def choose(recipe: Recipe, margin: int, length: int, generator: Generator) -> Choice:
    """Choose frames like the original. For pictures, reference and target lie apart if the clip allows; for clips, the
    reference may lie anywhere from where the frames may begin."""

    def between(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=generator))

    if recipe.stage == "clips":
        low, high = max(recipe.motion_frames, margin), length - recipe.frames - margin - 1
        first = between(low, high)
        return Choice(between(low, high), first)
    apart, reference = min(recipe.data.apart, length), between(0, length - 1)
    if reference + apart < length:
        return Choice(reference, between(reference + apart, length - 1))
    if reference - apart > 0:
        return Choice(reference, between(0, reference - apart))
    return Choice(reference, between(0, length - 1))


def shortest(recipe: Recipe, config: NetConfig) -> int:
    """The fewest frames that a clip must have."""
    margin = config.audio_window // 2
    return 1 if recipe.stage == "pictures" else recipe.frames + margin + max(recipe.motion_frames, margin) + 1


def fitting(clips: Sequence[Clip], recipe: Recipe, config: NetConfig) -> tuple[list[Clip], list[Problem]]:
    """The clips that suit this recipe and network, and the problems of the others."""
    good, problems = [], []
    size = max((clip.size for clip in clips), key=[clip.size for clip in clips].count) if clips else 0
    for clip in clips:
        if reason := _unfit(clip, recipe, config, size):
            problems.append(Problem(clip.id, clip.record.source, reason))
        else:
            good.append(clip)
    return good, problems


def _unfit(clip: Clip, recipe: Recipe, config: NetConfig, size: int) -> str:
    least = shortest(recipe, config)
    if clip.length < least:
        return f"{clip.length} frames, but the recipe takes samples from clips of at least {least}"
    if clip.size % config.size_multiple:
        return f"{clip.size} pixels, but the network takes multiples of {config.size_multiple}"
    if clip.size != size:
        return f"{clip.size} pixels, but most clips have {size}; one run trains one size"
    if recipe.stage == "clips" and tuple(clip.speech.shape[1:]) != (config.audio_layers, config.audio_channels):
        found, taken = tuple(clip.speech.shape[1:]), (config.audio_layers, config.audio_channels)
        return f"speech features of {found} layers and channels, but the network takes {taken}"
    if clip.identity.numel() != config.face_dim:
        return f"an identity of {clip.identity.numel()} numbers, but the network takes {config.face_dim}"
    latents = clip.latents([0])
    if latents is not None and latents[0].shape[1] != config.latent_channels:
        return f"latents of {latents[0].shape[1]} channels, but the network takes {config.latent_channels}"
    return ""


class Samples(TorchDataset):
    """An endless sequence of samples: all clips in a new order, again and again."""

    def __init__(
        self,
        clips: Sequence[Clip],
        recipe: Recipe,
        config: NetConfig,
        grey: Tensor | None = None,
        *,
        purpose: str = "train",
    ):
        """grey (2, channels, height/8, width/8): what the codec makes of a grey picture. Given, the clips' latents are
        used; else pixels."""
        self.clips, self.recipe, self.config, self.grey, self.purpose = clips, recipe, config, grey, purpose

    def __getitem__(self, number: int) -> Batch:
        recipe, clip = self.recipe, self.clips[self.order(number)]
        generator = seeded(recipe.seed, self.purpose, number)
        choice = choose(recipe, self.config.audio_window // 2, clip.length, generator)
        *draws, unnamed = torch.rand(6, generator=generator).tolist()
        drop = recipe.drop if self.purpose == "train" else Drop()
        started = draws[3] < drop.start
        given = conditions(drop, draws)
        before = range(choice.first - recipe.motion_frames, choice.first)
        portrait = started and recipe.start_frames == "portrait"
        indices = [choice.reference, *([choice.reference] * len(before) if portrait else before)]
        indices += range(choice.first, choice.first + recipe.frames)
        unknown = slice(1, 1 + len(before)) if started and not portrait else None
        pictures, latents = self._pictures(clip, indices, unknown)
        shape = (self.config.latent_channels, clip.size // LATENT_SCALE, clip.size // LATENT_SCALE)
        known = torch.rand(1 + len(before), generator=generator) >= drop.reference_face
        timestep = torch.randint(recipe.schedule.train_steps, (), generator=generator)
        noise = torch.randn(recipe.frames, *shape, generator=generator)
        offset = torch.randn(shape[0], 1, 1, generator=generator)
        return Batch(
            pictures=pictures,
            latents=latents,
            spread=torch.randn(len(indices), *shape, generator=generator),
            noise=noise + recipe.loss.noise_offset * offset,
            timestep=timestep,
            identity=clip.identity.float() * (unnamed >= drop.identity),
            known_faces=known,
            locator=clip.face_mask.expand(3, -1, -1),
            masks=pyramid(clip.masks, (clip.size, clip.size), self.config.levels),
            windows=self._windows(clip, choice.first),
            given=given,
        )

    def order(self, number: int) -> int:
        turn, place = divmod(number, len(self.clips))
        return int(_order(self.recipe.seed, self.purpose, turn, len(self.clips))[place])

    def _pictures(self, clip: Clip, indices: list[int], unknown: slice | None) -> tuple[Tensor, Tensor]:
        """`unknown`: those that are grey."""
        if self.grey is None:
            pixels = clip.frames(indices)
            if unknown is not None:
                pixels[unknown] = 0
            return pixels, torch.empty(0)
        kept = clip.latents(indices)
        assert kept is not None
        latents = torch.stack(kept, 1)
        if unknown is not None:
            latents[unknown] = self.grey
        return torch.empty(0), latents

    def _windows(self, clip: Clip, first: int) -> Tensor:
        if self.recipe.stage == "pictures":
            return torch.empty(0)
        speech, last = clip.speech, first + self.recipe.frames
        return surrounded(lambda a, b: speech[a:b], clip.length, first, last, self.config.audio_window).float()


@lru_cache(maxsize=4)
def _order(seed: int, purpose: str, turn: int, count: int) -> Tensor:
    return torch.randperm(count, generator=seeded(seed, f"{purpose} order", turn))


def collate(samples: Sequence[Batch]) -> Batch:
    """Join samples into a batch. Those that read a reference come first, so that they form one slice."""
    return stack(sorted(samples, key=lambda sample: not sample.given.reads))


def stack(samples: Sequence[Batch]) -> Batch:
    def together(parts: Any) -> Any:
        if isinstance(parts[0], Tensor):
            return torch.stack(parts)
        if hasattr(parts[0], "_fields"):
            return type(parts[0])(*(together(some) for some in zip(*parts, strict=True)))
        return [together(some) for some in zip(*parts, strict=True)]

    return together(list(samples))


@dataclass(frozen=True)
class Numbers:
    """Which samples this process takes, batch after batch: those of one step lie together over all processes."""

    start: int  # step
    steps: int
    batch: int
    accumulate: int = 1
    rank: int = 0
    processes: int = 1

    def __iter__(self) -> Iterator[list[int]]:
        for batch in range(self.start * self.accumulate, self.steps * self.accumulate):
            first = (batch * self.processes + self.rank) * self.batch
            yield list(range(first, first + self.batch))

    def __len__(self) -> int:
        return (self.steps - self.start) * self.accumulate
