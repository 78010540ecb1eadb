"""The short films of the examples: the drawn portrait, moved by Puppet Portrait's own program.

`python -m tools.pictures.clip` writes two of 4 seconds, 25 frames a second, 512x512, into demo_model. The head moves a
good deal, so that one sees the lips follow it. The mouth of clip.mp4, which is redubbed, says another sentence than
speech.wav: that sentence backwards, as nothing but the bundled sound is needed for it. It has no sound. The mouth of
late.mp4 says the sentence, and the film's sound is late, to be measured and mended.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

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
LATE = 4  # frames


def moving(speech: Path) -> Pose:
    return posed(backwards(prepare(*read(speech))))


def posed(recording: Recording) -> Pose:
    return poses(listen(open_ear(), recording), LIVELY)


def drawn(pose: Pose) -> Iterator[Tensor]:
    """(n, height, width, 3), of bytes"""
    picture = torch.from_numpy(np.array(portrait()))
    puppet = Puppet(as_floats(picture).permute(2, 0, 1), Features.of_mesh(sitter().mesh()))
    for spoken in perform(puppet, pose):
        yield from placed(puppet, picture, spoken)


def backwards(recording: Recording) -> Recording:
    return lasting(replace(recording, samples=recording.samples.flip(0)))


def lasting(recording: Recording) -> Recording:
    """Over and over, for as long as the film lasts."""
    once, wanted = recording.samples, SECONDS * SAMPLE_RATE
    return replace(recording, samples=once.repeat(-(-wanted // len(once)))[:wanted])


def delayed(recording: Recording) -> Recording:
    by = LATE * SAMPLE_RATE // FPS
    return replace(recording, samples=F.pad(recording.samples, (by, -by)))


def write(folder: Path = FOLDER) -> None:
    spoken = lasting(prepare(*read(folder / "speech.wav")))
    encode(folder / "clip.mp4", moving(folder / "speech.wav"))
    encode(folder / "late.mp4", posed(spoken), delayed(spoken))


def encode(path: Path, pose: Pose, sound: Recording | None = None) -> None:
    """With one thread, as x264 writes the same bytes then each time."""
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as film:
        stream = film.add_stream("libx264", rate=FPS, options={"crf": QUALITY, "preset": "veryslow"})
        stream.width, stream.height, stream.pix_fmt = SIDE, SIDE, "yuv420p"
        stream.codec_context.thread_count = 1
        heard = None if sound is None else film.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        for picture in (one for batch in drawn(pose) for one in batch):
            film.mux(stream.encode(av.VideoFrame.from_ndarray(picture.numpy(), format="rgb24")))
        film.mux(stream.encode())
        if sound is not None and heard is not None:
            block = av.AudioFrame.from_ndarray(sound.samples[None].numpy(), format="fltp", layout="mono")
            block.sample_rate, block.pts = SAMPLE_RATE, 0  # without a time its beginning would come later
            film.mux([*heard.encode(block), *heard.encode()])


if __name__ == "__main__":
    write()
