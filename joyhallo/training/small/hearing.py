"""Train a tiny wav2vec2 on espeak-ng's voices to predict the motion of mouths.

It writes a speech encoder's folder in Hugging Face's layout, and hearing.json with its accuracy. The same
seed gives the same weights on the same machine.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from ...config import FPS, SAMPLE_RATE
from ...data.dataset import SAMPLES, Split, replacing, write_text
from ...data.steps import digest
from ...drawn.mouths import VISEMES, Motion
from ...drawn.speaking import monologue, recorded_sound
from ...drawn.voice import ENGLISH, MANDARIN
from ...libraries import library
from ...measures.curves import correlation, partial
from ...sound.audio import levels
from ...sound.wav2vec2 import Encoder, layers_of
from ..average import Average
from ..recipe import rate
from . import command
from .course import AVERAGE, Course
from .probe import Heard, Probe, hear

VERSION = 1  # of what is heard: to be raised when the same seed gives other weights
NAME = "hearing"
SIZES: Mapping[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "conv_dim": [16] * 2 + [32] + [64] * 4,  # the first take most of the time
    "num_conv_pos_embeddings": 15,
    "num_conv_pos_embedding_groups": 4,
    # Each moment by itself: what is heard does not depend on what else there is in the recording, or how long it is.
    "feat_extract_norm": "layer",
    "conv_bias": True,
    "feat_extract_activation": "relu",
}
STEADY = {  # nothing by chance in the network: what is heard is varied instead
    **dict.fromkeys(
        ("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout", "final_dropout"), 0.0
    ),
    "layerdrop": 0.0,
    "apply_spec_augment": False,
}
TAKE_SECONDS = 12.0
LONGEST = 10.0  # seconds of a take that a crop may have
LONGEST_PAUSE = 0.8  # seconds
SPEEDS = 0.1  # by which a crop may be faster or slower than it was said
QUIET = 0.08  # share of the crops in which nobody speaks
FAINTEST, LOUDEST_NOISE = -85.0, -30.0  # dB of full scale, when nobody speaks
LOUDEST_GAIN = 8.0  # dB, either way
EVERY = 100  # steps between lines of the report
PROBED = 40  # takes that the probe is fitted to, and tried on
SILENCES = 8


@dataclass(frozen=True)
class HearingTraining(Course):
    WARMUP = 200

    hours: float = 1.0  # of speech to learn from
    steps: int = 2400
    batch: int = 16
    seconds: float = 2.56  # of each crop
    english: float = 0.2  # share of the takes
    learning_rate: float = 3e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.steps, self.batch, self.takes) < 1 or not 0.5 <= self.seconds <= LONGEST:
            raise ValueError(
                f"Give at least one step of one crop, of 0.5 to {LONGEST:.0f} seconds, and {TAKE_SECONDS:.0f} seconds "
                "of speech."
            )

    @property
    def takes(self) -> int:
        return int(self.hours * 3600 / TAKE_SECONDS)

    def dice(self, *about: int | str) -> np.random.Generator:
        return np.random.default_rng(int(digest(VERSION, self.seed, *about), 16))


# ---- what is heard


@dataclass(frozen=True)
class Take:
    """A stretch of speech, without the effects of a recording."""

    samples: NDArray[np.float16]
    motion: Motion
    voice: str = MANDARIN


@dataclass(frozen=True)
class Batch:
    sounds: Tensor  # (batch, samples)
    numbers: Tensor  # (batch, rows, 3): opening, spread, loudness
    visemes: Tensor  # (batch, rows)


def takes(settings: HearingTraining, split: Split, count: int, workers: int = 1) -> list[Take]:
    """Speak takes at once in threads; each is spoken by a program of its own."""

    def take(number: int) -> Take:
        dice = settings.dice("take", split, number)
        said = monologue(dice, split, round(TAKE_SECONDS * FPS), settings.english, LONGEST_PAUSE)
        return Take(said.samples.numpy().astype(np.float16), said.motion, said.manner.voice)

    with ThreadPoolExecutor(max(1, workers)) as pool:
        return list(pool.map(take, range(count)))


def batch(spoken: Sequence[Take], settings: HearingTraining, step: int) -> Batch:
    dice = settings.dice("step", step)
    crops = [_crop(spoken, settings.frames, dice) for _ in range(settings.batch)]
    sounds, numbers, visemes = (torch.stack(some) for some in zip(*crops, strict=True))
    return Batch(sounds, numbers, visemes)


def _crop(spoken: Sequence[Take], frames: int, dice: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    if dice.random() < QUIET:
        sound = room_tone(frames * SAMPLES, dice)
        return sound, _numbers(np.zeros(frames), np.zeros(frames), sound), torch.zeros(frames, dtype=torch.long)
    sound, motion = excerpt(spoken[int(dice.integers(len(spoken)))], frames, dice)
    gain = 10 ** (dice.uniform(-LOUDEST_GAIN, LOUDEST_GAIN) / 20)
    sound = (recorded_sound(sound, dice) * gain).clamp(-1, 1)
    return sound, _numbers(motion.opening, motion.spread, sound), torch.from_numpy(motion.viseme.astype(np.int64))


def excerpt(take: Take, frames: int, dice: np.random.Generator) -> tuple[Tensor, Motion]:
    """A crop of a take at another speed and pitch, as from a smaller or larger speaker."""
    speed = dice.uniform(1 - SPEEDS, 1 + SPEEDS)
    start = dice.uniform(0, len(take.motion.opening) - frames * speed)
    rows, samples = ((np.arange(count) + 0.5) * speed - 0.5 for count in (frames, frames * SAMPLES))
    rows, samples = rows + start, samples + start * SAMPLES
    there = np.arange(len(take.motion.opening))
    first, last = max(0, int(samples[0])), int(samples[-1]) + 2
    heard = take.samples[first:last].astype(np.float32)
    sound = torch.from_numpy(np.interp(samples - first, np.arange(len(heard)), heard)).float()
    opening, spread = (np.interp(rows, there, values) for values in (take.motion.opening, take.motion.spread))
    viseme = take.motion.viseme[rows.round().astype(int).clip(0, len(there) - 1)]
    return sound, Motion(opening.astype(np.float32), spread.astype(np.float32), viseme)


def _numbers(opening: NDArray[Any], spread: NDArray[Any], sound: Tensor) -> Tensor:
    loudness = levels(sound, len(opening)).clamp(min=-80) / 20 + 2
    return torch.stack([torch.as_tensor(opening), torch.as_tensor(spread), loudness], dim=1).float()


def room_tone(size: int, dice: np.random.Generator) -> Tensor:
    """Sound without speech: silence, a hiss, or a murmur."""
    kind = dice.integers(3)
    if kind == 0:
        return torch.zeros(size)
    noise = torch.from_numpy(dice.standard_normal(size)).float()
    if kind == 2:
        spectrum = torch.fft.rfft(noise)
        noise = torch.fft.irfft(spectrum / torch.arange(1, len(spectrum) + 1) ** dice.uniform(0.3, 1), size)
    return noise / noise.std() * 10 ** (dice.uniform(FAINTEST, LOUDEST_NOISE) / 20)


# ---- learning


def network(settings: HearingTraining) -> nn.Module:
    """A wav2vec2 of transformers with its random initial weights."""
    library("transformers.models.wav2vec2.modeling_wav2vec2", "The speech encoder")
    transformers = library("transformers", "The speech encoder")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**SIZES, **STEADY))


class Reader(nn.Module):
    """Readings from each layer by itself, so that each is useful, and from the convolutions."""

    OUT = 3 + len(VISEMES)

    def __init__(self, seed: int):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.below = nn.Linear(SIZES["conv_dim"][-1], self.OUT)
            self.layers = nn.ModuleList(
                nn.Linear(SIZES["hidden_size"], self.OUT) for _ in range(SIZES["num_hidden_layers"])
            )

    def forward(self, layers: Tensor, inputs: Tensor) -> Iterator[Tensor]:
        normed = F.layer_norm(inputs, inputs.shape[-1:])
        yield self.below(normed)
        for read, layer in zip(self.layers, layers.unbind(2), strict=True):
            yield read(layer)


WEIGHTS = torch.tensor([16.0, 1.0, 0.3])  # of the squared errors of opening, spread and loudness


def losses(told: Iterator[Tensor], wanted: Batch) -> Tensor:
    """The loss of each reading."""
    each = []
    for said in told:
        numbers = ((said[..., :3] - wanted.numbers).square() * WEIGHTS).mean((0, 1)).sum()
        each.append(numbers + 0.3 * F.cross_entropy(said[..., 3:].flatten(0, 1), wanted.visemes.flatten()))
    return torch.stack(each)


def train(
    settings: HearingTraining, spoken: Sequence[Take], progress: Callable[[int, Tensor], None] = lambda step, loss: None
) -> Encoder:
    """Train an encoder. progress: called now and then with the mean losses of each reading."""
    encoder, reader = Encoder(network(settings), NAME, normalize=False), Reader(settings.seed)
    encoder.model.train()
    parameters = dict(encoder.model.named_parameters())
    trained = [*parameters.values(), *reader.parameters()]
    chosen = settings.optimizer
    optimizer = torch.optim.AdamW(trained, eps=chosen.epsilon, weight_decay=chosen.weight_decay)
    average, since = Average(parameters, AVERAGE), list[Tensor]()
    for step in range(settings.steps):
        heard = batch(spoken, settings, step)
        for group in optimizer.param_groups:
            group["lr"] = rate(chosen, step, settings.steps)
        each = losses(reader(*layers_of(encoder, heard.sounds)), heard)
        optimizer.zero_grad()
        each.sum().backward()
        nn.utils.clip_grad_norm_(trained, chosen.clip)
        optimizer.step()
        average.update(step + 1)
        since.append(each.detach())
        if len(since) == EVERY or step + 1 == settings.steps:
            progress(step + 1, torch.stack(since).mean(0))
            since.clear()
    encoder.model.load_state_dict(average.weights, strict=False)
    encoder.model.requires_grad_(False).eval()
    return encoder


# ---- how well it hears


def figures(
    encoder: Encoder, spoken: Sequence[Take], others: Sequence[Take], settings: HearingTraining
) -> dict[str, Any]:
    """Accuracy on words and voices outside training, clean and as recordings."""
    spoken, others = spoken[:PROBED], others[:PROBED]
    known = _heard(encoder, [*map(_plain, spoken), *_recorded(spoken, settings, "train")], [*spoken, *spoken])
    probe = Probe.fitted(known)
    plain = _heard(encoder, [*map(_plain, others)], others)
    varied = _heard(encoder, _recorded(others, settings, "validation"), others)
    by_language = {}
    for name, voices in (("Mandarin", MANDARIN), ("English", ENGLISH)):
        if some := [take for take in others if take.voice.startswith(voices)]:
            by_language[name] = _agreement(probe, _heard(encoder, [*map(_plain, some)], some))
    dice = settings.dice("silence")
    still = [torch.zeros(4 * SAMPLE_RATE), *(room_tone(4 * SAMPLE_RATE, dice) for _ in range(SILENCES))]
    silence = [probe(_heard(encoder, [sound], []).features)[0].mean() for sound in still]
    return {
        "plain": _agreement(probe, plain),
        **by_language,
        "varied gain, rooms, noise": _agreement(probe, varied),
        "opening in digital silence": float(silence[0]),
        "opening in room tone": float(np.mean(silence[1:])),
        "highest in room tone": float(np.max(silence[1:])),
        "opening in speech": float(plain.opening.mean()),
        "deviation of features": float(varied.features.std()),
        "largest feature": float(np.abs(varied.features).max()),
    }


def _agreement(probe: Probe, heard: Heard) -> dict[str, float]:
    opening, viseme = probe(heard.features)
    return {
        "correlation": correlation(opening, heard.opening),
        "correlation given loudness": partial(opening, heard.opening, heard.loudness),
        "correlation of loudness alone": correlation(heard.loudness[:, 1], heard.opening),
        "visemes": float((viseme == heard.viseme).mean()),
    }


def _plain(take: Take) -> Tensor:
    return torch.from_numpy(take.samples.astype(np.float32))


def _recorded(some: Sequence[Take], settings: HearingTraining, split: Split) -> list[Tensor]:
    return [recorded_sound(_plain(take), settings.dice("recorded", split, number)) for number, take in enumerate(some)]


def _heard(encoder: Encoder, sounds: Sequence[Tensor], some: Sequence[Take]) -> Heard:
    return hear(encoder, sounds, [take.motion for take in some])


# ---- what is written


def write(folder: Path, encoder: Encoder, settings: HearingTraining, found: Mapping[str, Any]) -> None:
    """Write the folder in transformers' layout, hearing.json last, so that a folder with it is complete."""
    state = {name: tensor.contiguous() for name, tensor in encoder.model.state_dict().items()}
    with replacing(folder / "model.safetensors") as temporary:
        save_file(state, temporary, {"format": "pt"})
    _write_json(folder / "config.json", {"model_type": "wav2vec2", "architectures": ["Wav2Vec2Model"], **SIZES})
    _write_json(
        folder / "preprocessor_config.json",
        {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "do_normalize": False, "sampling_rate": SAMPLE_RATE},
    )
    _write_json(folder / "hearing.json", {"version": VERSION, "settings": asdict(settings), "figures": found})


def _write_json(path: Path, facts: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(facts, indent=2) + "\n")


def learn(settings: HearingTraining, folder: Path, workers: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Speak, train, evaluate and write the encoder; returns the figures."""
    spoken = takes(settings, "train", settings.takes, workers)
    others = takes(settings, "validation", min(PROBED, settings.takes), workers)
    tell(f"{len(spoken) * TAKE_SECONDS / 3600:.2f} hours of speech to learn from")
    encoder = train(settings, spoken, lambda step, each: tell(f"{step} of {settings.steps}  {_line(each)}"))
    found = figures(encoder, spoken, others, settings)
    write(folder, encoder, settings, found)
    return found


def _line(each: Tensor) -> str:
    """The losses of the convolutions and of each layer."""
    return "  ".join(f"{loss:.3f}" for loss in each.tolist())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command.parser("hearing", __doc__, HearingTraining, "folder")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    chosen = parser.parse_args(arguments)

    def learnt(settings: HearingTraining) -> dict[str, Any]:
        return learn(settings, chosen.output, chosen.workers, command.tell)

    return command.run(chosen, HearingTraining, learnt)


if __name__ == "__main__":
    sys.exit(main())
