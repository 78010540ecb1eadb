"""The cost of one guided denoising step at the published size.

    python -m benchmarks.denoise --px 256 --frames 16 --json

The weights are cheap and non-zero: speed does not depend on them. `step_tflop` counts multiplications and additions of
every matrix product, convolution and attention that the step executes; `matmul_share` is the rate of the step against
this machine's own large matrix product, measured in the same run.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from joyhallo.diffusion.codec import LATENT_SCALE
from joyhallo.methods.hallo.config import NetConfig
from joyhallo.methods.hallo.networks.net import Net
from joyhallo.methods.hallo.sampling import Portrait, Sampler, Settings
from joyhallo.ops import CastOps, TorchOps

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def cheap_net(config: NetConfig, ops: type, weights: torch.dtype, device: torch.device) -> Net:
    """A network with weights from repeated noise, scaled to keep activations bounded; memory is really used."""
    with torch.device("meta"):
        net = Net(config, ops)
    noise = torch.randn(1 << 20, device=device)
    state = {}
    for key, tensor in net.state_dict().items():
        count = tensor.numel()
        filled = torch.empty(count, dtype=weights, device=device)
        scale = 0.02 if tensor.ndim <= 1 else tensor[0].numel() ** -0.5
        whole = count // len(noise) * len(noise)
        filled[:whole].view(-1, len(noise)).copy_(noise.expand(whole // len(noise), -1))
        filled[whole:] = noise[: count - whole]
        filled *= scale  # in place: temporaries between the weights would leave holes in the heap
        if tensor.ndim == 1 and key.endswith("weight"):
            filled += 1
        state[key] = filled.view(tensor.shape)
    net.load_state_dict(state, assign=True)
    return net.requires_grad_(False)


@dataclass
class Timing:
    wall: float
    cpu: float


class Clock:
    def __init__(self, device: torch.device):
        self.device = device

    def __call__(self, function, repeat: int = 1) -> Timing:
        self._wait()
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(repeat):
            function()
        self._wait()
        return Timing((time.perf_counter() - wall) / repeat, (time.process_time() - cpu) / repeat)

    def _wait(self) -> None:
        if self.device.type != "cpu":
            torch.accelerator.synchronize()


def matmul_rate(device: torch.device, dtype: torch.dtype, clock: Clock) -> float:
    """TFLOP/s of this machine's own large matrix product: the best of a few."""
    side = 2048 if device.type == "cpu" else 8192
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    a @ b
    return max(2 * side**3 / clock(lambda: a @ b, repeat=4).wall for _ in range(4)) / 1e12


def counted_step(config: NetConfig, px: int, settings: Settings) -> float:
    """TFLOP of a step, counted while it runs on the meta device: the same products, without their numbers."""
    meta = torch.device("meta")
    with meta:
        net = Net(config)
    portrait, windows = random_inputs(config, px, settings.chunk_frames)
    latents = torch.randn(settings.chunk_frames, config.latent_channels, px // LATENT_SCALE, px // LATENT_SCALE)
    sampler = Sampler(net, portrait, latents[:1], settings, meta, torch.float32)
    chunk = sampler.prepare_chunk(windows, 0, None)
    with FlopCounterMode(display=False) as counter:
        sampler.velocity(net.denoising_unet, latents, 999, chunk)
    return counter.get_total_flops() / 1e12


def random_inputs(config: NetConfig, px: int, frames: int) -> tuple[Portrait, Tensor]:
    side = px // LATENT_SCALE
    masks = [torch.rand(3, (side >> level) ** 2) for level in range(config.levels)]
    portrait = Portrait(torch.rand(3, px, px) * 2 - 1, torch.randn(config.face_dim), torch.rand(3, px, px), masks)
    return portrait, torch.randn(frames, config.audio_window, config.audio_layers, config.audio_channels)


@torch.no_grad()
def measure(arguments: argparse.Namespace) -> dict:
    device = torch.device(arguments.device)
    weights, compute = DTYPES[arguments.weights], DTYPES[arguments.compute or arguments.weights]
    if device.type == "cpu" and arguments.compute is None:
        compute = torch.float32
    config = NetConfig(regional_audio=arguments.hallo)
    settings = Settings(chunk_frames=arguments.frames, rows_together=not arguments.rows_apart)
    torch.manual_seed(0)
    tflop = counted_step(config, arguments.px, settings)
    clock = Clock(device)
    net = cheap_net(config, TorchOps if weights == compute else CastOps, weights, device)
    portrait, windows = random_inputs(config, arguments.px, arguments.frames)
    side = arguments.px // LATENT_SCALE
    latents = torch.randn(3, config.latent_channels, side, side)

    rate = matmul_rate(device, compute, clock)
    sampler = Sampler(net, portrait, latents[:1], settings, device, compute)  # warms up
    first = clock(lambda: sampler.look(latents[:1].expand(2, -1, -1, -1), torch.arange(2)), repeat=2)
    later = clock(lambda: sampler.motion_features(latents[1:]))
    chunk = sampler.prepare_chunk(windows, 0, None)
    x = torch.randn(arguments.frames, config.latent_channels, side, side, device=device)

    def step() -> None:
        sampler.velocity(net.denoising_unet, x, 999, chunk)

    step()  # warms up
    timing = clock(step, arguments.steps)
    figures = {
        "device": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"cpu, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "px": arguments.px,
        "frames": arguments.frames,
        "weights": arguments.weights,
        "step_seconds": timing.wall,
        "step_cpu_seconds": timing.cpu,
        "step_tflop": tflop,
        "reference_first_seconds": first.wall,
        "reference_later_seconds": later.wall,
        "matmul_share": tflop / timing.wall / rate,
    }
    if device.type == "cuda":
        figures["peak_vram_gb"] = torch.cuda.max_memory_allocated(device) / 1e9
    else:
        figures["peak_rss_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--px", type=int, default=256)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--weights", choices=DTYPES, default="fp32", help="precision of the stored weights")
    parser.add_argument("--compute", choices=DTYPES, help="precision of the arithmetic; on a CPU fp32 if not given")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=1, help="how many steps to average")
    parser.add_argument("--rows-apart", action="store_true", help="guidance rows one after the other")
    parser.add_argument("--hallo", action="store_true", help="Hallo's three audio attentions")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    arguments = parser.parse_args()
    figures = measure(arguments)
    if arguments.json:
        print(json.dumps(figures))
    else:
        width = max(map(len, figures))
        sys.stdout.writelines(f"{name:{width}}  {value}\n" for name, value in figures.items())


if __name__ == "__main__":
    main()
