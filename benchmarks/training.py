"""The speed of training, compared with the same step written plainly.

    python -m benchmarks.training --json

At the tiny size, on this machine, in one run: the plain step is that of tests/plain_training.py, which tiles every
condition for every frame. "naive" decodes and encodes the pictures anew and always forgets what is inside, as the
original does in its second stage; each line below takes one of these back. Processor time, so that a busy machine tells
less; the best of a few steps.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from joyhallo.data.dataset import open_dataset
from joyhallo.diffusion.codec import AutoencoderCodec
from joyhallo.diffusion.schedule import Schedule
from joyhallo.training.__main__ import RECIPES
from joyhallo.training.recipe import Recipe, read_recipe
from joyhallo.training.samples import Samples, collate
from joyhallo.training.stage import Stage, encoded
from joyhallo.training.start import fresh, select, sizes

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "tests" / "helpers"))
import clips  # noqa: E402
from plain_training import PlainNet  # noqa: E402

SIZE = 128
CHANGES = ["net.latent_channels=4", "net.audio_layers=3", "net.audio_channels=16", "average=0.0"]


def autoencoder() -> AutoencoderCodec:
    """The small one of the same widths as the network: 2.4 million weights."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    facts: dict[str, Any] = {
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "block_out_channels": [32, 64, 96, 96],
        "latent_channels": 4,
    }
    return AutoencoderCodec(AutoencoderKL(**facts).requires_grad_(False))


def dataset(root: Path) -> Path:
    records = [clips.add(root, f"clip{index}", 60, size=SIZE) for index in range(4)]
    clips.dataset.write_manifest(root, records)
    clips.dataset.write_facts(root)
    return root


def steps(recipe: Recipe, root: Path) -> dict[str, Callable[[int], Tensor]]:
    """Each makes the loss of batch number n."""
    config = sizes(read_recipe(RECIPES / "tiny1.toml", CHANGES).net)
    net, codec, there = fresh(config, seed=0), autoencoder(), open_dataset(root).clips
    select(net, recipe.train)
    weights = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    kept = Schedule(recipe.schedule).alphas_cumprod
    pixels, latents = Samples(there, recipe, config), Samples(there, recipe, config, torch.zeros(2, 4, 16, 16))

    def batch(samples: Samples, number: int) -> Any:
        first = number * recipe.data.batch
        return collate([samples[first + place] for place in range(recipe.data.batch)])

    def plainly(samples: Samples, forgetful: bool) -> Callable[[int], Tensor]:
        plain = PlainNet(weights, config.heads, config.norm_groups, forgetful)

        def run(number: int) -> Tensor:
            drawn = batch(samples, number)
            found = plain.losses(drawn, encoded(drawn, codec), kept, recipe.loss.snr_gamma, recipe.loss.lip_weight)
            return torch.stack(found).mean()

        return run

    def ours(forgetful: bool) -> Callable[[int], Tensor]:
        stage = Stage(net, replace(recipe, checkpointing=forgetful))

        def run(number: int) -> Tensor:
            drawn = batch(latents, number)
            return stage(drawn, encoded(drawn, None)).weighted.mean()

        return run

    return {
        "naive": plainly(pixels, True),
        "latents kept": plainly(latents, True),
        "nothing forgotten": plainly(latents, False),
        "ours, forgetting": ours(True),
        "ours": ours(False),
    }


def seconds(run: Callable[[int], Tensor], repeat: int) -> float:
    best = float("inf")
    for number in range(repeat):
        before = time.process_time()
        run(number).backward()
        best = min(best, time.process_time() - before)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root, figures = dataset(Path(folder)), {}
        changes = {"pictures": ["tiny1"], "clips": ["tiny2", 'train=["audio", "motion"]', "start.weights="]}
        for stage, (name, *more) in changes.items():
            recipe = read_recipe(RECIPES / f"{name}.toml", [*CHANGES, *more])
            timed = {way: seconds(run, chosen.repeat) for way, run in steps(recipe, root).items()}
            figures[stage] = {way: recipe.data.batch / spent for way, spent in timed.items()}
            figures[stage] = {way: round(rate, 2) for way, rate in figures[stage].items()}
            figures[f"{stage}, times the naive"] = {w: round(timed["naive"] / t, 2) for w, t in timed.items()}
    if chosen.json:
        print(json.dumps(figures, indent=2))
        return
    for title, row in figures.items():
        print(title, "  ".join(f"{way} {figure}" for way, figure in row.items()))


if __name__ == "__main__":
    main()
