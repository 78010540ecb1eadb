"""Validation videos: clips outside the training split, made with the public sampler and shown beside the truth.

    python -m joyhallo.training.validation MODEL --dataset FOLDER --codec CODEC -o FOLDER

Training starts this as a separate process (`Studio`), so that training never waits for it.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..config import FPS, SAMPLE_RATE
from ..data.dataset import Clip, DatasetError, open_dataset
from ..diffusion.codec import load_codec
from ..diffusion.schedule import Schedule
from ..files.contents import WeightsError
from ..film.write import VideoError, write
from ..libraries import LibraryError
from ..methods.hallo.checkpoint import load_checkpoint
from ..methods.hallo.config import GUIDANCE
from ..methods.hallo.sampling import Settings, animate
from ..sound.wav2vec2 import surrounded
from .checkpoints import MODEL
from .recipe import Recipe

log = logging.getLogger(__name__)

FOLDER = "validation"
PATIENCE = 1800  # seconds that the end of training waits for the last videos


def generated(
    model: Any, codec: Any, clip: Clip, settings: Settings, length: int, *, device: torch.device | str = "cpu"
) -> Tensor:
    """Animate a clip's first frame with its speech: (up to length, 3, size, size) in 0..1."""
    speech, config = clip.speech, model.config
    rows = min(length, clip.length)
    windows = surrounded(lambda a, b: speech[a:b], clip.length, 0, rows, config.net.audio_window).float()
    chunks = animate(
        model.net, codec, Schedule(config.schedule), clip.portrait(0), windows, settings, length=rows, device=device
    )
    return torch.cat([chunk.frames.cpu() for chunk in chunks])


def beside_truth(clip: Clip, frames: Tensor) -> Tensor:
    """(frames, 3, size, 2 * size): the true frames are on the left."""
    truth = clip.frames(range(len(frames))) / 2 + 0.5
    return torch.cat([truth, frames], dim=3)


def write_videos(model: Path, dataset: Path, codec: Path, folder: Path, chosen: argparse.Namespace) -> list[Path]:
    device = torch.device(chosen.device)
    loaded = load_checkpoint(model, dtype=torch.float32, device=device)
    decoder = load_codec(codec, dtype=torch.float32, device=device)
    settings = Settings(steps=chosen.steps, guidance=chosen.guidance, seed=chosen.seed)
    written = []
    for clip in open_dataset(dataset, "validation").clips[: chosen.videos]:
        frames = generated(loaded, decoder, clip, settings, chosen.frames, device=device)
        pictures = beside_truth(clip, frames).movedim(1, -1)
        sound = clip.recording.samples[: len(frames) * SAMPLE_RATE // FPS]
        path = folder / f"{chosen.step:08d}-{clip.id}.mp4"
        path.unlink(missing_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        written.append(write(path, [pictures], FPS, (sound[None], SAMPLE_RATE)))
    return written


class Studio:
    """Makes videos in one process at a time, and waits for it only at the end."""

    def __init__(self, folder: Path, recipe: Recipe, device: torch.device):
        self.folder, self.recipe, self.device = folder, recipe, recipe.validation.device or str(device)
        self.working: subprocess.Popen | None = None
        self.missed: int | None = None  # a step that found the process before it at work

    def show(self, step: int) -> None:
        """Start videos of the model that is on disk now."""
        wanted = self.recipe.validation
        if not wanted.videos:
            return
        if self.working is not None and self.working.poll() is None:
            log.warning("no validation videos of step %d: those of an earlier step are not finished", step)
            self.missed = step
            return
        self.missed = None
        # a second name for the file as it is now: the next model takes the first one's place meanwhile
        model = self.folder / FOLDER / f".{step:08d}-{MODEL}"
        model.parent.mkdir(parents=True, exist_ok=True)
        model.unlink(missing_ok=True)
        try:
            os.link(self.folder / MODEL, model)
        except OSError:  # a disk without second names
            shutil.copyfile(self.folder / MODEL, model)
        command = [sys.executable, "-m", f"{__package__}.validation", str(model), "--delete-model"]
        command += ["--dataset", self.recipe.data.folder, "--codec", self.recipe.codec.path]
        command += ["-o", str(self.folder / FOLDER), "--step", str(step), "--device", self.device]
        for name in ("videos", "frames", "steps", "guidance"):
            command += [f"--{name}", str(getattr(wanted, name))]
        with (self.folder / FOLDER / "log.txt").open("a", encoding="utf-8") as file:
            self.working = subprocess.Popen(command, stdout=file, stderr=file, env=_alone())

    def finish(self) -> None:
        """Wait for the last videos, so that a finished run has those of its last step."""
        self._wait()
        if self.missed is not None:
            self.show(self.missed)
            self._wait()

    def _wait(self) -> None:
        if self.working is None:
            return
        try:
            self.working.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            log.warning("the last validation videos take longer than %d s; training does not wait for them", PATIENCE)
            return
        if self.working.returncode:
            log.warning("validation videos failed; see %s", self.folder / FOLDER / "log.txt")


# What tells a process that it is one of several.
OF_SEVERAL = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "GROUP_RANK")


def _alone() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in OF_SEVERAL}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m joyhallo.training.validation", description="Sample clips of a dataset's validation split."
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--codec", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--step", type=int, default=0, help="the number that the files begin with")
    parser.add_argument("--videos", type=int, default=1)
    parser.add_argument("--frames", type=int, default=32, help="of each video at most")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=GUIDANCE)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--delete-model", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        for path in write_videos(chosen.model, chosen.dataset, chosen.codec, chosen.output, chosen):
            log.info("%s", path)
    except (WeightsError, DatasetError, LibraryError, VideoError, OSError, ValueError) as error:
        log.error("%s", error)
        return 1
    finally:
        if chosen.delete_model:
            chosen.model.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
