"""LatentSync against bytedance/LatentSync, whose own pipeline runs as it is, but for files and its finder of faces."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from joyhallo.diffusion.codec import LATENT_SCALE
from joyhallo.files.checkpoint import Checkpoint
from joyhallo.methods.latentsync import method as method_module
from joyhallo.methods.latentsync.alignment import three_points
from joyhallo.methods.latentsync.method import LatentSync
from joyhallo.methods.latentsync.network import FRAMES, INPUTS, Sizes, UNet
from joyhallo.methods.latentsync.sampling import Settings, denoise
from joyhallo.methods.redub import Wishes, in_parts
from joyhallo.sound.whisper import BANDS, HEAD, LATENTSYNC, ROWS, Whisper, hear

from .measuring import (
    SOUND,
    TINY,
    Clip,
    Codec,
    autoencoder,
    compared,
    peak,
    published_autoencoder,
    redubbed,
    seeded,
    tflop,
    turns,
    without_spread,
)
from .originals import open_checkout, silenced

ADDRESS, SIGN = "github.com/bytedance/LatentSync", "latentsync/pipelines/lipsync_pipeline.py"
UNUSED = ("decord", "ffmpeg", "matplotlib", "matplotlib.pyplot", "insightface", "insightface.app")
POINTS = ((43, 48, 49, 51, 50), (101, 102, 103, 104, 105), (74, 77, 83, 86))  # of 106: brows and nose
TOKENS, MOMENT = 50, 501
PAST_END = 2  # frames that are made beyond the sound


def open_original(folder: Path) -> None:
    open_checkout(folder, SIGN, ADDRESS, UNUSED)


@dataclass(frozen=True)
class Both:
    """The same weights on both sides."""

    checkout: Path
    channels: tuple[int, ...]
    size: int  # of faces, in pixels
    steps: int
    seed: int = 1247

    # ---- networks

    @cached_property
    def theirs(self) -> nn.Module:
        return seeded(self.original())

    @cached_property
    def ours(self) -> UNet:
        sizes = Sizes(self.channels)
        return Checkpoint(lambda ops: UNet(sizes, ops), self.theirs.state_dict()).build()

    def original(self) -> Any:
        import yaml

        told = yaml.safe_load((self.checkout / "configs/unet/stage2.yaml").read_text())["model"]
        told |= {"block_out_channels": list(self.channels), "norm_eps": float(told["norm_eps"])}  # 1e-5 is text in YAML
        unet = importlib.import_module("latentsync.models.unet").UNet3DConditionModel
        return unet.from_config(told)

    @cached_property
    def vae(self) -> Any:
        return without_spread(seeded(autoencoder([32] * 4, 1)))

    @cached_property
    def hearing(self) -> Any:
        """The original's whole Whisper, whose decoder says nothing and is as small as it can be."""
        module = importlib.import_module("latentsync.whisper.whisper.model")
        heads = SOUND // HEAD
        return seeded(module.Whisper(module.ModelDimensions(BANDS, ROWS, SOUND, heads, TINY, 1, 1, heads, heads, 0)))

    @cached_property
    def whisper(self) -> Whisper:
        return Checkpoint(lambda ops: Whisper(SOUND, TINY, ops), self.hearing.encoder.state_dict()).build()

    # ---- a step

    def inputs(self, frames: int) -> tuple[Tensor, Tensor]:
        torch.manual_seed(0)
        side = self.size // LATENT_SCALE
        return torch.randn(frames, INPUTS, side, side), torch.randn(frames, TOKENS, SOUND)

    def step(self, frames: int, count: int) -> dict[str, Any]:
        """Both rows of guidance, once through the network."""
        (seen, sound), moment = self.inputs(frames), torch.tensor([MOMENT])
        heard = self.ours.listen(sound)
        apart, both = seen.transpose(0, 1)[None].repeat(2, 1, 1, 1, 1), torch.cat([torch.zeros_like(sound), sound])
        both = both.unflatten(0, (2, frames))

        def ours() -> Tensor:
            return self.ours(seen, moment, [None, heard]).noise

        def theirs() -> Tensor:
            return self.theirs(apart, MOMENT, encoder_hidden_states=both).sample

        away = (ours() - theirs().transpose(1, 2)).abs().max()
        return {"frames": frames, "most_apart": float(away), **turns(ours, theirs, count)}

    # ---- the whole

    def method(self) -> LatentSync:
        def heard(samples: Tensor, joints: Any) -> Any:
            return hear(self.whisper, samples, LATENTSYNC, joints)

        wishes = Wishes(seed=self.seed, steps=self.steps)
        return LatentSync(self.ours, Codec(self.vae), heard, self.size, wishes=wishes)

    def whole(self, side: int, frames: int, count: int) -> dict[str, Any]:
        clip = Clip.drawn(side, frames, frames - PAST_END)
        with tempfile.TemporaryDirectory() as place:
            run = self.pipeline(clip, Path(place))
            mine, other = redubbed(self.method(), clip), run()
            away = (mine.int() - torch.from_numpy(other).int()).abs()
            agreed = {"most_levels_apart": int(away.max()), "mean_levels_apart": round(float(away.float().mean()), 5)}
            figures = turns(lambda: redubbed(self.method(), clip), run, count)
        return {"picture": side, "frames": len(mine), "steps": self.steps, **agreed, **figures}

    def pipeline(self, clip: Clip, folder: Path) -> Callable[[], np.ndarray]:
        """The original's, from frames and sound to frames."""
        from diffusers.schedulers.scheduling_ddim import DDIMScheduler

        module = importlib.import_module("latentsync.pipelines.lipsync_pipeline")
        made = module.LipsyncPipeline(
            self.vae, self.listener(folder), self.theirs, DDIMScheduler.from_pretrained(self.checkout / "configs")
        )
        made.set_progress_bar_config(disable=True)

        def run() -> np.ndarray:
            with silenced(), self.without_files(module, clip) as written, torch.inference_mode():
                made(
                    "",
                    clip.recording.samples,
                    "",
                    height=self.size,
                    width=self.size,
                    num_inference_steps=self.steps,
                    weight_dtype=torch.float32,
                    mask_image_path=str(self.checkout / "latentsync/utils/mask.png"),
                    temp_dir=str(folder / "temporary"),
                    generator=torch.Generator().manual_seed(self.seed),
                )
            return written[0]

        return run

    def listener(self, folder: Path) -> Any:
        module = importlib.import_module("latentsync.whisper.audio2feature")
        file = folder / "tiny.pt"
        torch.save({"dims": vars(self.hearing.dims), "model_state_dict": self.hearing.state_dict()}, file)
        return module.Audio2Feature(str(file), "cpu")

    @contextmanager
    def without_files(self, module: Any, clip: Clip) -> Iterator[list[np.ndarray]]:
        """Frames come from memory and go there; faces are found where the clip says."""
        written: list[np.ndarray] = []
        make = module.ImageProcessor
        replaced = {
            "check_ffmpeg_installed": lambda: None,
            "read_video": lambda *_, **__: clip.pictures.numpy(),
            "read_audio": lambda *_: clip.recording.samples,
            "write_video": lambda path, frames, **_: written.append(frames),
            "ImageProcessor": lambda size, device, mask_image: on_cpu(make(size, "cpu", mask_image), clip),
            "sf": mock.Mock(),
            "subprocess": mock.Mock(),
        }
        with mock.patch.multiple(module, **replaced):
            yield written


def on_cpu(processor: Any, clip: Clip) -> Any:
    """In full precision: half of it is all that the original has on a GPU, and gives no numbers on a CPU."""
    restorer, marks = type(processor.restorer), iter(landmarks(clip))
    processor.restorer = restorer(resolution=processor.resolution, device="cpu", dtype=torch.float32)
    processor.face_detector = lambda _: ((), next(marks))
    return processor


def landmarks(clip: Clip) -> np.ndarray:
    """(frames, 106, 2), of which only those are told whose means are the points that ours has."""
    found = np.zeros((len(clip.track), 106, 2))
    for group, points in zip(POINTS, three_points(clip.track).transpose(1, 0, 2), strict=True):
        found[:, group] = points[:, None]
    return found


# ---- what is counted, on the meta device: nothing of it is computed


def counted(checkout: Path, size: int, dtype: torch.dtype = torch.float16) -> dict[str, Any]:
    """Of a window at the published sizes: work of a guided step, and bytes of the step and of the whole window."""
    both = Both(checkout, Sizes().channels, size, steps=1)
    with torch.device("meta"):
        ours, theirs = UNet().to(dtype).eval(), both.original().to(dtype).eval()
        vae = published_autoencoder().to(dtype).eval()
    side = size // LATENT_SCALE
    shapes = (1, 4, side, side), (FRAMES, INPUTS - 4, side, side), (FRAMES, TOKENS, SOUND)
    noise, given, sound = (torch.empty(shape, dtype=dtype, device="meta") for shape in shapes)
    seen = torch.empty(2, INPUTS, FRAMES, side, side, dtype=dtype, device="meta")
    heard = torch.empty(2, FRAMES, TOKENS, SOUND, dtype=dtype, device="meta")
    listened = ours.listen(sound)

    def step() -> None:
        ours(seen[0].transpose(0, 1), torch.tensor([MOMENT], device="meta"), [None, listened])

    def whole_step() -> None:
        denoise(ours, noise, given, sound, Settings(1))

    def their_step() -> None:
        theirs(seen, MOMENT, encoder_hidden_states=heard)

    known = [*ours.state_dict().values(), *theirs.state_dict().values(), *vae.state_dict().values()]
    known += [noise, given, sound, seen, heard]
    pixels = torch.empty(FRAMES, 3, size, size, dtype=dtype, device="meta")
    method = LatentSync(ours, Codec(vae), None, size, "meta", dtype, Wishes(steps=1))  # type: ignore[arg-type]

    def window() -> None:
        with mock.patch.object(method_module, "check_numbers"):
            method.speak(pixels.byte(), sound, lambda *_: None)

    latents = torch.empty(FRAMES, 4, side, side, dtype=dtype, device="meta")
    known += [pixels, latents]
    parts = {
        "step": (whole_step, their_step),
        "encode": (lambda: in_parts(method.vae.encode, pixels, size, "meta"), lambda: vae.encode(pixels).latent_dist),
        "decode": (lambda: in_parts(method.vae.decode, latents, size, "meta"), lambda: vae.decode(latents).sample),
    }
    bytes_of = {name: tuple(peak(work, known) for work in works) for name, works in parts.items()}
    most = max(theirs for _, theirs in bytes_of.values())
    return {
        "size": size,
        "step_tflop": compared(tflop(step), tflop(their_step)),
        **{f"{name}_mb": compared(*(number >> 20 for number in pair)) for name, pair in bytes_of.items()},
        "window_mb": compared(peak(window, known) >> 20, most >> 20),
    }
