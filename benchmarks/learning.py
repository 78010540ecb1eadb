"""Does training learn? Both stages from nothing, on drawn people, against the probe that the recipes come from.

    python -m joyhallo.training.synthesize -o DATASET --people 32 --others 4 --clips 3
    python -m benchmarks.learning DATASET -o FOLDER --steps 1080 460
    python -m benchmarks.learning DATASET -o FOLDER --measure

The first adds what training needs and a synthetic dataset lacks without models (features of the sound by mel bands,
latents by patches), then trains; a run that was stopped goes on. `--measure` samples the validation split and prints,
for each clip, how the generated mouth goes with the true one, and what another clip's sound makes of it: nothing.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from joyhallo.checkpoint import load_checkpoint, load_codec
from joyhallo.config import FPS, SAMPLE_RATE
from joyhallo.masks import resized
from joyhallo.sampling import Settings, animate
from joyhallo.schedule import Schedule
from joyhallo.speech import surrounded
from joyhallo.training import dataset, patches
from joyhallo.training.__main__ import RECIPES
from joyhallo.training.dataset import Clip, open_dataset
from joyhallo.training.recipe import Recipe, read_recipe
from joyhallo.training.trainer import train

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


def lips(clip: Clip) -> Tensor:
    """(size, size): where to look"""
    mask = resized(clip.masks.lip, (clip.size, clip.size))
    return torch.from_numpy(mask) > 160


def opening(clip: Clip, frames: Tensor) -> Tensor:
    """How far the mouth of frames (n, 3, size, size) in 0..1 is open, as far as a line through the colours tells: from
    the mean of the true frames in which it is shut to the mean of those in which it is open."""
    truth, known = clip.frames(range(clip.length)) / 2 + 0.5, clip.mouth
    assert known is not None
    there = lips(clip)
    shut, wide = (
        truth[part][:, :, there].mean(0) for part in (known < known.quantile(0.25), known > known.quantile(0.75))
    )
    way = (wide - shut).flatten()
    return ((frames[:, :, there] - shut).flatten(1) @ way) / way.square().sum()


def correlation(a: Tensor, b: Tensor) -> float:
    return torch.corrcoef(torch.stack([a, b]))[0, 1].item()


def partial(a: Tensor, b: Tensor, given: Tensor) -> float:
    """What is left of the correlation when both are explained by `given` as far as they can be."""
    ab, ac, bc = correlation(a, b), correlation(a, given), correlation(b, given)
    return (ab - ac * bc) / math.sqrt((1 - ac**2) * (1 - bc**2))


def loudness(clip: Clip, frames: int) -> Tensor:
    samples = clip.recording.samples[: frames * SAMPLE_RATE // FPS]
    return samples.unflatten(0, (frames, -1)).square().mean(1).add(1e-7).log()


def said(model: Any, codec: Any, clip: Clip, by: Clip, frames: int, settings: Settings) -> Tensor:
    """`clip` with the sound of `by`."""
    speech = by.speech
    windows = surrounded(lambda a, b: speech[a:b], by.length, 0, frames, model.config.net.audio_window).float()
    chunks = animate(model.net, codec, Schedule(model.config.schedule), clip.portrait(0), windows, settings)
    return torch.cat([chunk.frames for chunk in chunks])[:frames]


def measure(
    path: Path, root: Path, split: Any, count: int, frames: int, settings: Settings, sheet: Path | None
) -> None:
    model, codec = load_checkpoint(path, dtype=torch.float32), load_codec(root / CODEC)
    clips = open_dataset(root, split).clips
    clips = clips[:: max(1, len(clips) // count)][:count]
    rows, figures = [], []
    for index, clip in enumerate(clips):
        truth, known = clip.frames(range(frames)) / 2 + 0.5, clip.mouth
        assert known is not None
        made = said(model, codec, clip, clip, frames, settings)
        other = said(model, codec, clip, clips[(index + 1) % len(clips)], frames, settings)
        mouth, level = opening(clip, made), loudness(clip, frames)
        outside = ~lips(clip)
        figures.append({
            "r": correlation(mouth, known[:frames]),
            "other sound": correlation(opening(clip, other), known[:frames]),
            "given loudness": partial(mouth, known[:frames], level),
            "loudness alone": correlation(level, known[:frames]),
            "psnr outside lips": -10 * math.log10((made - truth)[:, :, outside].square().mean().item()),
        })  # fmt: skip
        print(clip.id, json.dumps({name: round(value, 2) for name, value in figures[-1].items()}), flush=True)
        places = torch.linspace(0, frames - 1, 8).long()
        rows += [torch.cat(list(truth[places]), 2), torch.cat(list(made[places]), 2)]
    print("mean", json.dumps({name: round(sum(f[name] for f in figures) / len(figures), 3) for name in figures[0]}))
    if sheet is not None:
        picture = torch.cat(rows, 1).clamp(0, 1).mul(255).byte().permute(1, 2, 0).numpy()
        Image.fromarray(picture).save(sheet)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, nargs=2, default=[1080, 460])
    parser.add_argument("--evenness", type=float, default=1.0, help="of the codec's channels; the probe's were even")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--measure", metavar="STAGE", nargs="?", const="tiny2")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--sampling-steps", type=int, default=12)
    chosen = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    torch.set_num_threads(1)
    complete(chosen.dataset, chosen.evenness)
    if chosen.measure:
        settings = Settings(steps=chosen.sampling_steps, guidance=1.0, clip_frames=16)
        model = chosen.output / chosen.measure / "model.safetensors"
        sheet = chosen.output / f"{chosen.measure}-{chosen.split}.png"
        measure(model, chosen.dataset, chosen.split, chosen.clips, chosen.frames, settings, sheet)
        return
    for recipe in recipes(chosen.dataset, chosen.output, chosen.steps, chosen.changes):
        before = time.process_time()
        if recipe.steps and not train(recipe):
            return
        print(f"{recipe.name}: {time.process_time() - before:.0f} seconds of a processor", flush=True)


if __name__ == "__main__":
    main()
