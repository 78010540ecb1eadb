"""The short film that the examples redub: the drawn portrait, moved by Puppet Portrait's own program.

`python -m tools.pictures.clip` writes demo_model/clip.mp4: 4 seconds of 25 frames, 512x512, without sound. The head
moves a good deal, so that one sees the lips follow it. The mouth says another sentence than speech.wav: that sentence
backwards, as nothing but the bundled sound is needed for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import torch
from torch import Tensor

from joyhallo.config import FPS, SAMPLE_RATE
from joyhallo.drawn.drawing import SIDE
from joyhallo.film.write import as_floats
from joyhallo.methods.puppet.face import Features
from joyhallo.methods.puppet.hearing import listen, open_ear
from joyhallo.methods.puppet.perform import Direction, perform, placed, poses
from joyhallo.methods.puppet.render import Pose, Puppet
from joyhallo.sound.audio import Recording, prepare, read

from ..comfyui.server import ROOT
from .portrait import portrait, sitter

FOLDER = ROOT / "demo_model"
SECONDS = 4
LIVELY = Direction(strength=0.7, expressiveness=1.5, blinks=1.5, sway=3.0, seed=11)
QUALITY = "26"  # x264's


def moving(speech: Path) -> Pose:
    return poses(listen(open_ear(), backwards(prepare(*read(speech)))), LIVELY)


def drawn(pose: Pose) -> Iterator[Tensor]:
    """(n, height, width, 3), of bytes"""
    picture = torch.from_numpy(np.array(portrait()))
    puppet = Puppet(as_floats(picture).permute(2, 0, 1), Features.of_mesh(sitter().mesh()))
    for spoken in perform(puppet, pose):
        yield from placed(puppet, picture, spoken)


def backwards(recording: Recording) -> Recording:
    """Over and over, for as long as the film lasts."""
    once = recording.samples.flip(0)
    wanted = SECONDS * SAMPLE_RATE
    return replace(recording, samples=once.repeat(-(-wanted // len(once)))[:wanted])


def write(folder: Path = FOLDER) -> None:
    """With one thread, as x264 writes the same bytes then each time."""
    with av.open(str(folder / "clip.mp4"), "w", options={"movflags": "+faststart"}) as film:
        stream = film.add_stream("libx264", rate=FPS, options={"crf": QUALITY, "preset": "veryslow"})
        stream.width, stream.height, stream.pix_fmt = SIDE, SIDE, "yuv420p"
        stream.codec_context.thread_count = 1
        for picture in (one for batch in drawn(moving(folder / "speech.wav")) for one in batch):
            film.mux(stream.encode(av.VideoFrame.from_ndarray(picture.numpy(), format="rgb24")))
        film.mux(stream.encode())


if __name__ == "__main__":
    write()
