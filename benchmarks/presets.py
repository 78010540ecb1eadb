"""The cost of each preset, and how close it comes to Exact.

    python -m benchmarks.presets --json
    python -m benchmarks.presets --checkpoint joyhallo.safetensors --codec sd-vae-ft-mse --px 256 --frames 16

Every preset makes the same clip from the same noise. `psnr` compares its frames with those of Exact, `psnr_to_ddim_200`
with 200 steps of DDIM: the line "exact" there tells how near Exact itself is to the end of the road. With seeded
weights, which are the default, this is about convergence, not about looks. `rows` counts passes of one guidance row,
`cheap_rows` those that reuse deep features. `work_256` and `work_512` are the multiplications and additions of all
steps at the published size, as a share of Exact's, counted on the meta device.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from joyhallo.config import FPS
from joyhallo.diffusion.codec import LATENT_SCALE, load_codec
from joyhallo.diffusion.schedule import Schedule
from joyhallo.methods.hallo.checkpoint import load_checkpoint
from joyhallo.methods.hallo.config import ModelConfig, NetConfig
from joyhallo.methods.hallo.networks.net import Net
from joyhallo.methods.hallo.presets import PRESETS
from joyhallo.methods.hallo.sampling import Codec, Sampler, Settings, Stage, animate, stages
from tools.demo_model.seeded import net_weights

from .denoise import random_inputs

SMALL = NetConfig(
    channels=(16, 16, 32, 32),
    heads=2,
    norm_groups=4,
    face_width=32,
    audio_layers=3,
    audio_channels=16,
    audio_hidden=32,
    audio_tokens=4,
    audio_width=32,
    locator_channels=(8, 8, 16, 16),
)
SCALE = "ddim_200"


class Blocks:
    """Pixels <-> latents without weights: each latent is the mean of a block of pixels; the fourth channel is grey."""

    def encode(self, pixels: Tensor) -> Tensor:
        means = F.avg_pool2d(pixels, LATENT_SCALE)
        return torch.cat([means, means.mean(1, keepdim=True)], dim=1)

    def decode(self, latents: Tensor) -> Tensor:
        return (F.interpolate(latents[:, :3], scale_factor=float(LATENT_SCALE)) / 4 + 0.5).clamp(0, 1)


@dataclass
class Bench:
    config: ModelConfig
    net: Net
    codec: Codec
    px: int
    frames: int
    seed: int

    def clip(self, settings: Settings) -> tuple[Tensor, float]:
        """The frames, and the seconds they took."""
        torch.manual_seed(self.seed)
        portrait, windows = random_inputs(self.config.net, self.px, self.frames)
        portrait = replace(portrait, picture=F.avg_pool2d(portrait.picture, 9, 1, 4))
        start = time.perf_counter()
        chunks = animate(self.net, self.codec, Schedule(self.config.schedule), portrait, windows, settings)
        return torch.cat([chunk.frames for chunk in chunks]), time.perf_counter() - start


def seeded(config: NetConfig = SMALL) -> Net:
    with torch.device("meta"):
        net = Net(config)
    net.load_state_dict({key: tensor.float() for key, tensor in net_weights(config).items()}, assign=True)
    net.requires_grad_(False)
    embedding = net.denoising_unet.time_embedding
    # Drawn weights hear the waves that turn within a step as loudly as the slow ones, and no solver could follow.
    turns = 1000 * torch.exp(torch.arange(0, 1, 2 / embedding.width) * -math.log(10_000))
    embedding.linear_1.weight.mul_((10 / turns).clamp(max=1).repeat(2))
    return net


def psnr(a: Tensor, b: Tensor) -> float | None:
    """PSNR in decibels; None for equal frames, because JSON has no infinity."""
    error = float((a - b).square().mean())
    return -10 * math.log10(error) if error else None


@torch.no_grad()
def stage_flops(px: int, config: NetConfig | None = None) -> dict[Stage, int]:
    """FLOPs of a step of 16 square frames, for each stage."""
    config, meta, settings = config or NetConfig(), torch.device("meta"), Settings(reuse=2)
    with meta:
        net = Net(config).requires_grad_(False)
    portrait, windows = random_inputs(config, px, settings.chunk_frames)
    latents = torch.randn(settings.chunk_frames, config.latent_channels, px // LATENT_SCALE, px // LATENT_SCALE)
    sampler = Sampler(net, portrait, latents[:1], settings, meta, torch.float32)
    chunk, counted, deep = sampler.prepare_chunk(windows, 0, None), {}, None
    for full in (True, False):
        for guided in (False, True):
            with FlopCounterMode(display=False) as counter:
                _, kept = sampler.rows(net.denoising_unet, latents, 999, chunk, Stage(guided, full), deep)
            counted[Stage(guided, full)] = counter.get_total_flops()
        deep = kept
    return counted


def work(settings: Settings, flops: Mapping[Stage, int]) -> int:
    return sum(flops[stage] for stage in stages(settings, settings.steps))


def measure(bench: Bench, sizes: Mapping[int, Mapping[Stage, int]], repeat: int) -> Iterator[dict]:
    bench.clip(Settings(steps=1))  # warms up
    scale, _ = bench.clip(Settings(steps=200, seed=bench.seed))
    exact, exact_seconds = scale, math.nan
    for name, preset in PRESETS.items():
        settings = preset.settings(seed=bench.seed)
        runs = [bench.clip(settings) for _ in range(repeat)]
        frames, seconds = runs[0][0], min(seconds for _, seconds in runs)
        if name == "exact":
            exact, exact_seconds = frames, seconds
        plan = stages(settings, settings.steps)
        chunks = math.ceil(bench.frames / settings.chunk_frames)
        yield {
            "preset": name,
            "solver": settings.solver,
            "steps": settings.steps,
            "guidance_span": settings.guidance_span,
            "reuse": settings.reuse,
            "seconds_per_second": seconds / (bench.frames / FPS),
            "speed_up": exact_seconds / seconds,
            "rows": chunks * sum(1 + stage.guided for stage in plan),
            "cheap_rows": chunks * sum(1 + stage.guided for stage in plan if not stage.full),
            "psnr": psnr(frames, exact),
            f"psnr_to_{SCALE}": psnr(frames, scale),
            **{f"work_{px}": work(settings, flops) / work(Settings(), flops) for px, flops in sizes.items()},
        }


def bench_of(arguments: argparse.Namespace) -> Bench:
    config, net, codec = ModelConfig(SMALL), None, Blocks()
    if arguments.checkpoint:
        model = load_checkpoint(arguments.checkpoint, dtype=torch.float32)
        config, net = model.config, model.net
        if arguments.codec:
            codec = load_codec(arguments.codec)
    return Bench(config, net or seeded(), codec, arguments.px, arguments.frames, arguments.seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", help="a model's file; without it a small network of seeded weights")
    parser.add_argument("--codec", help="the autoencoder that belongs to the checkpoint; without it blocks of pixels")
    parser.add_argument("--px", type=int, default=64)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--repeat", type=int, default=1, help="the quickest of so many runs counts")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each preset")
    arguments = parser.parse_args()
    sizes = {px: stage_flops(px) for px in (256, 512)}
    for px, flops in sizes.items():
        row = {"px": px, "tflop": flops[Stage()] / 1e12}
        for stage, count in flops.items():
            name = f"{'both_rows' if stage.guided else 'one_row'}_{'full' if stage.full else 'cheap'}"
            row[name] = count / flops[Stage()]
        print(json.dumps(row) if arguments.json else readable(row))
    for row in measure(bench_of(arguments), sizes, arguments.repeat):
        print(json.dumps(row) if arguments.json else readable(row))


def readable(row: dict) -> str:
    return "  ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items())


if __name__ == "__main__":
    main()
