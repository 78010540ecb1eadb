"""Does training learn? Both stages from nothing, on drawn people, against the probe that the recipes come from.

    python -m joyhallo.drawn.synthesize -o DATASET --people 32 --others 4 --clips 3
    python -m benchmarks.learning DATASET -o FOLDER --steps 1080 460
    python -m benchmarks.learning DATASET -o FOLDER --measure

The first adds what training needs and a synthetic dataset lacks without models (features of the sound by mel bands,
latents by patches), then trains; a run that was stopped goes on. `--measure` lets people speak who are in no
dataset and prints the quick figures of joyhallo.evaluation, each beside a control that must miss its mark.
"""

from __future__ import annotations

import argparse
import logging
import math
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from joyhallo.config import FPS, SAMPLE_RATE
from joyhallo.data import dataset
from joyhallo.data.dataset import Clip
from joyhallo.diffusion.codec import load_codec
from joyhallo.evaluation.drawn.acceptance import FIGURES, QUICK, SOON, Takes, sheet
from joyhallo.evaluation.drawn.makers import Engine, How
from joyhallo.evaluation.drawn.talks import Talk, talks
from joyhallo.methods.hallo.checkpoint import load_checkpoint
from joyhallo.methods.hallo.likeness import by_colours
from joyhallo.sound.wav2vec2 import surrounded
from joyhallo.training.__main__ import RECIPES
from joyhallo.training.recipe import Recipe, read_recipe
from joyhallo.training.small import patches
from joyhallo.training.trainer import train
from tools.demo_model.evaluate import line

BANDS, PARTS, CHANNELS = 32, 4, 16
CODEC = "patches.safetensors"


# ---- what a synthetic dataset lacks


def mel_bands(samples: Tensor, frames: int) -> Tensor:
    """Loudness in mel bands, each frame in four parts: (frames, 4, 32), about -1..1. No weights are needed."""
    hop, window = SAMPLE_RATE // FPS // PARTS, 400
    padded = torch.nn.functional.pad(samples[: frames * PARTS * hop], (window // 2, window))
    pieces = padded.unfold(0, window, hop)[: frames * PARTS] * torch.hann_window(window)
    power = torch.fft.rfft(pieces, 512).abs().square()
    edges = 700 * (10 ** (torch.linspace(0, 2595 * math.log10(1 + 7600 / 700), BANDS + 2) / 2595) - 1)
    bins = torch.arange(power.shape[1]) * SAMPLE_RATE / 512
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    mel = power @ torch.minimum(rising, falling).clamp(min=0).T
    return (((mel + 1e-6).log() + 5) / 6).unflatten(0, (frames, PARTS))


def complete(root: Path, evenness: float) -> None:
    """Write a codec fitted to some of the frames, and what it and the mel bands make of every clip."""
    records = dataset.read_manifest(root)
    good = [record for record in records if record.status == "ok"]
    if (root / CODEC).exists() and all({"speech", "latents"} <= record.files.keys() for record in good):
        return
    clips = [Clip(root, record) for record in good]
    codec = patches.fitted(root, CHANNELS, evenness)
    for clip in clips:
        folder = root / dataset.CLIPS / clip.id
        features = mel_bands(clip.recording.samples, clip.length)
        dataset.write_tensors(folder / dataset.NAMES["speech"], features=features)
        mean, logvar = codec.posterior(clip.frames(range(clip.length)))
        dataset.write_tensors(folder / dataset.NAMES["latents"], mean=mean.half(), logvar=logvar.half())
        files = dataset.stored(root, clip.id, dataset.NAMES)
        dataset.write_record(root, replace(clip.record, files=files))
    dataset.write_manifest(root, [dataset.read_record(root, r.id) if r.status == "ok" else r for r in records])  # type: ignore[misc]
    patches.write(root / CODEC, codec)


# ---- training


def recipes(root: Path, output: Path, steps: list[int], changes: list[str]) -> list[Recipe]:
    """tiny1 and tiny2, as the probe had them where it says how."""
    common = [f'data.folder="{root}"', f'output="{output}"', f'codec.path="{root / CODEC}"', 'device="cpu"']
    common += ["data.workers=0", 'optimizer.decay="constant"', *changes]
    first = read_recipe(RECIPES / "tiny1.toml", [*common, f"net.audio_channels={BANDS}", f"steps={steps[0]}"])
    start = f'start.weights="{output / "tiny1" / "model.safetensors"}"'
    second = read_recipe(RECIPES / "tiny2.toml", [*common, start, f"steps={steps[1]}", "validation.every=0"])
    return [first, second]


# ---- measuring


def heard(samples: Tensor, reach: int) -> Tensor:
    """The network's input in place of wav2vec2's features: (frames, reach, parts, bands)."""
    frames = len(samples) // dataset.SAMPLES
    features = mel_bands(samples, frames)
    return surrounded(lambda start, stop: features[start:stop], frames, 0, frames, reach)


def engine(path: Path, codec: Path, how: How) -> Engine:
    model = load_checkpoint(path, dtype=torch.float32)
    return Engine(
        model,
        load_codec(codec),
        lambda samples: heard(samples, model.config.net.audio_window),
        how,
        lambda talk: by_colours(talk.portrait, talk.sitter.face()),
    )


def measure(maker: Engine, said: list[Talk], picture: Path) -> None:
    takes = Takes(maker, said, QUICK, maker.codec)
    for name in SOON:
        print(line(FIGURES[name](takes)), flush=True)
    Image.fromarray(sheet(takes)).save(picture)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, nargs=2, default=[1080, 460])
    parser.add_argument("--evenness", type=float, default=1.0, help="of the codec's channels; the probe's were even")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--measure", metavar="STAGE", nargs="?", const="tiny2")
    parser.add_argument("--seen", action="store_true", help="measure people and sentences of the training split")
    parser.add_argument("--clips", type=int, default=QUICK.clips)
    parser.add_argument("--frames", type=int, default=QUICK.frames)
    parser.add_argument("--sampling-steps", type=int, default=12)
    chosen = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    torch.set_num_threads(1)
    complete(chosen.dataset, chosen.evenness)
    if chosen.measure:
        model = chosen.output / chosen.measure / "model.safetensors"
        facts = dataset.read_facts(chosen.dataset)["settings"]
        how = How(facts["size"], steps=chosen.sampling_steps)
        known = ("train", facts["seed"]) if chosen.seen else ()
        said = talks(chosen.clips, chosen.frames, how.size, *known)
        picture = chosen.output / f"{chosen.measure}-{'seen' if chosen.seen else 'unseen'}.png"
        measure(engine(model, chosen.dataset / CODEC, how), said, picture)
        return
    for recipe in recipes(chosen.dataset, chosen.output, chosen.steps, chosen.changes):
        before = time.process_time()
        if recipe.steps and not train(recipe):
            return
        print(f"{recipe.name}: {time.process_time() - before:.0f} seconds of a processor", flush=True)


if __name__ == "__main__":
    main()
