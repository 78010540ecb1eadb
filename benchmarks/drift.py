"""Drift from the first chunk and smoothness of joints between chunks, with each tool off and on.

    OMP_NUM_THREADS=1 python -m benchmarks.drift --plot drift.png --json

With each tool off and on. `known` is a drawn face that sways and speaks: its true frames are known, and each of
its chunks errs a little, from where the frames that it continues had come to: colours and contrast go astray, detail is
lost, the head jumps at joints. `net` is the bundled small network, of drawn people, or the one of --checkpoint.
`crossed`: drawn people whose colours are off, while something crosses the picture, which is not drift; levels off the
truth before and after the hold.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from joyhallo.config import FPS
from joyhallo.diffusion.codec import load_codec
from joyhallo.diffusion.schedule import Schedule
from joyhallo.drawn.drawing import Pose
from joyhallo.evaluation.drawn.talks import talks
from joyhallo.methods.hallo.checkpoint import load_checkpoint
from joyhallo.methods.hallo.config import CHUNK_FRAMES, MOTION_FRAMES
from joyhallo.methods.hallo.portrait import Wishes, prepare
from joyhallo.methods.hallo.sampling import Portrait, Settings, animate, chunk_starts
from joyhallo.methods.hallo.steadiness import (
    ColourHold,
    DriftMeter,
    Steadiness,
    drift_plot,
    face_outside_lips,
    outside_lips,
)
from joyhallo.sound.audio import Recording, load
from joyhallo.sound.wav2vec2 import Speech, encode, load_encoder
from tools.demo_model import bundle
from tools.pictures import portrait as drawing

FADE = 4  # frames
PLAIN, HOLD = Steadiness(), Steadiness(hold_colours=True)


@dataclass(frozen=True)
class Tools:
    wishes: Steadiness = PLAIN
    every: int = 0  # chunks after which the portrait is continued again, whatever is heard there

    def anchors(self, count: int) -> range:
        return range(self.every, count, self.every) if self.every else range(0)


KNOWN = {
    "off": Tools(),
    "colour hold": Tools(HOLD),
    "seam fade": Tools(Steadiness(fade=FADE)),
    "anchored every 10 s": Tools(every=16),
    "hold, anchored": Tools(HOLD, every=16),
    "hold, fade, anchored": Tools(Steadiness(hold_colours=True, fade=FADE), every=16),
}
PLOTTED = ("truth", "off", "colour hold", "anchored every 10 s", "hold, anchored", "overlap of 4")
NET = {name: KNOWN[name] for name in ("off", "colour hold", "seam fade", "anchored every 10 s")}
NET["overlap of 4"] = Tools(Steadiness(overlap=4))


def drawn_portrait(px: int) -> Portrait:
    face, lips = (np.array(drawing.mask(box)) for box in (drawing.face_box(), drawing.lip_box()))
    wishes = Wishes(face_mask=face, lip_mask=lips, identity="neutral")
    return prepare(drawing.portrait(), wishes=wishes).at((px, px)).portrait


# ---- a chain of which the truth is known


def drawn_film(px: int, count: int) -> Tensor:
    """The head sways and leans as no chunk would know, the mouth opens and closes, the eyes blink."""
    sitter, film = drawing.sitter(size=px), torch.empty(count, 3, px, px)
    for at, frame in enumerate(film):
        frame.copy_(torch.tensor(sitter.picture(_pose(at / FPS))).permute(2, 0, 1) / 255)
    return film


def _pose(moment: float) -> Pose:
    sways = (0.012 * _sway(moment, 0), 0.012 * _sway(moment, 1), 0.02 * _sway(moment, 2))
    return Pose(abs(math.sin(2 * math.pi * 2.7 * moment)), 0.0, float(moment % 4.3 < 0.12), *sways)


def _sway(moment: float, phase: float) -> float:
    return math.sin(2 * math.pi * moment / 3.1 + phase) + math.sin(2 * math.pi * moment / 7.3 + 2 * phase)


def _moved(film: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """Move the middle of the film by fractions of the picture; the border stays in place."""
    at = torch.linspace(-1, 1, film.shape[-1] + 1)[:-1] + 1 / film.shape[-1]
    y, x = torch.meshgrid(at, at, indexing="ij")
    inside = (1 - x**4) * (1 - y**4)
    right, below = across[:, None, None], down[:, None, None]
    places = torch.stack([x + inside * 2 * right, y + inside * 2 * below], -1)
    return F.grid_sample(film, places, padding_mode="border", align_corners=False)


@dataclass(frozen=True)
class Errors:
    """The errors of each chunk relative to the frames that it continues."""

    shift: Sequence[float] = (0.4, -0.1, -0.3)  # levels of 255 gained in each channel
    wobble: float = 1.0  # levels: spread of what each chunk gains besides
    gain: float = 0.997
    blur: float = 0.0125  # variance gained, in square pixels
    jump: float = 0.3  # pixels: spread of where the head is


NO_ERRORS = Errors((0, 0, 0), wobble=0, gain=1, blur=1e-6, jump=0)


def known_chain(portrait: Portrait, film: Tensor, tools: Tools, errors: Errors) -> Iterator[Tensor]:
    """Chunks of the film as they come from a network that errs, and continues its own errors."""
    generator = torch.Generator().manual_seed(1)
    steady, count = tools.wishes.steady(portrait), math.ceil(len(film) / CHUNK_FRAMES)
    anchors = tools.anchors(count)
    mean, gain, blur = torch.zeros(3), torch.ones(3), 0.0
    for index, truth in enumerate(film.split(CHUNK_FRAMES)):
        if index in anchors:
            mean, gain, blur = torch.zeros(3), torch.ones(3), 0.0
        drawn = torch.randn(2, 3, generator=generator)
        made = shape = truth
        if index:
            ramp = torch.linspace(0.5, 1, len(truth))[:, None]
            shift = mean + ramp * (torch.tensor(errors.shift) + errors.wobble * drawn[0]) / 255
            blur += errors.blur
            shape = _jumped(_blurred(truth, blur), errors.jump * drawn[1, :2])
            made = _toned(shape, gain * errors.gain**ramp, shift).clamp(0, 1)
        shown = steady(made)
        mean, gain = _astray(shape[-MOTION_FRAMES:], shown[-MOTION_FRAMES:])
        yield shown


def _toned(frames: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    mean = frames.mean((2, 3), keepdim=True)
    return (frames - mean) * gain[..., None, None] + mean + shift[..., None, None]


def _astray(truth: Tensor, shown: Tensor) -> tuple[Tensor, Tensor]:
    """The errors in colour and contrast of the continued frames."""
    mean = (shown.mean((2, 3)) - truth.mean((2, 3))).mean(0)
    return mean, (shown.std((2, 3)) / truth.std((2, 3))).mean(0)


def _blurred(frames: Tensor, variance: float) -> Tensor:
    at = torch.arange(-6, 7)
    kernel = torch.exp(-at.square() / (2 * variance))
    kernel = (kernel / kernel.sum()).expand(3, 1, 1, -1)
    wide = F.conv2d(F.pad(frames, (6, 6, 6, 6), mode="replicate"), kernel, groups=3)
    return F.conv2d(wide, kernel.transpose(2, 3), groups=3)


def _jumped(frames: Tensor, pixels: Tensor) -> Tensor:
    across, down = (pixels / frames.shape[-1]).expand(len(frames), 2).T
    return _moved(frames, across, down)


def known(px: int, seconds: float) -> tuple[dict, dict[str, DriftMeter]]:
    portrait = drawn_portrait(px)
    film = drawn_film(px, round(seconds * FPS))
    figures, meters = {}, {}
    for name, tools in {"truth": Tools(), "truth, colour hold": Tools(HOLD), **KNOWN}.items():
        errors = NO_ERRORS if name.startswith("truth") else Errors()
        meter, frames = measured(portrait, known_chain(portrait, film, tools, errors))
        wrong = 255 * (frames - film).abs().mean((1, 2, 3))
        figures[name] = told(meter) | {"levels_off_the_truth": float(wrong[-10 * FPS :].mean())}
        meters[name] = meter
    return figures, meters


# ---- motion, which is not drift

THINGS = {"nothing": (0, 0, 0.0), "dark": (40, 40, 0.05), "bright": (40, 40, 0.95), "large": (90, 50, 0.1)}
TONES = ((1.0, 0.0), (0.9, 7.5), (1.1, -7.5), (0.85, 15.0), (1.2, -12.5))  # contrast, levels


def crossed(px: int, people: int = 8) -> dict[str, dict[str, float]]:
    """Things are as high and wide as on pictures of 128 pixels, and as bright."""
    figures, everywhere = {}, torch.ones(px, px)
    films = [torch.tensor(talk.moving).permute(0, 3, 1, 2) / 255 for talk in talks(people, 2 * FPS, px)]
    for thing, (height, width, brightness) in THINGS.items():
        for contrast, shift in TONES:
            off, held = [], []
            for film in films:
                first, truth = (film * 0.7 + 0.15)[: 2 * CHUNK_FRAMES].split(CHUNK_FRAMES)  # with room for other tones
                for at, frame in enumerate(truth):
                    left = at * px // 32
                    frame[:, px - height * px // 128 :, left : left + width * px // 128] = brightness
                hold, mean = ColourHold(everywhere), first.mean((0, 2, 3))[:, None, None]
                hold(first)
                toned = (truth - mean) * contrast + mean + shift / 255
                off.append(255 * float((toned - truth).abs().mean()))
                held.append(255 * float((hold(toned) - truth).abs().mean()))
            name = f"{thing}, contrast {contrast:g}, {shift:+g} levels"
            figures[name] = {"off": float(np.mean(off)), "held": float(np.mean(held)), "worst_held": max(held)}
    return figures


# ---- a network's


def speech_of(encoder: Path, seconds: float) -> Speech:
    """The bundled sentence, again and again."""
    sound = load(bundle.FOLDER / "speech.wav")
    count = round(seconds * 16_000)
    samples = sound.samples.repeat(math.ceil(count / len(sound.samples)))[:count]
    return encode(load_encoder(encoder), Recording(samples))


def net(arguments: argparse.Namespace) -> tuple[dict, dict[str, DriftMeter]]:
    model = load_checkpoint(arguments.checkpoint, dtype=torch.float32, device=arguments.device)
    codec = load_codec(arguments.vae, dtype=torch.float32, device=arguments.device)
    speech = speech_of(arguments.encoder, arguments.seconds)
    portrait, schedule = drawn_portrait(arguments.px), Schedule(model.config.schedule)
    figures, meters = {}, {}
    for name, tools in NET.items():
        settings = Settings(arguments.steps, overlap=tools.wishes.overlap)
        begin = time.perf_counter()
        chunks = animate(
            model.net,
            codec,
            schedule,
            portrait,
            speech,
            settings,
            length=speech.length,
            device=arguments.device,
            steady=tools.wishes.steady(portrait),
            anchors=tools.anchors(len(chunk_starts(speech.length, settings))),
        )
        meters[name], _ = measured(portrait, (chunk.frames for chunk in chunks))
        figures[name] = told(meters[name]) | {"wall_seconds": time.perf_counter() - begin}
    return figures, meters


# ---- both


def measured(portrait: Portrait, chunks: Iterator[Tensor]) -> tuple[DriftMeter, Tensor]:
    meter, frames = DriftMeter(outside_lips(portrait), face_outside_lips(portrait)), []
    for chunk in chunks:
        if len(chunk):
            meter(chunk)
            frames.append(chunk.cpu())
    return meter, torch.cat(frames)


def told(meter: DriftMeter) -> dict[str, float]:
    """Joints over all of the clip, the other figures over its last ten seconds."""
    late = meter.chunks[-max(1, round(10 * len(meter.chunks) / meter.seconds)) :]
    means = {name: float(np.mean([getattr(drift, name) for drift in late])) for name in asdict(late[0])}
    seams = [drift.seam for drift in meter.chunks[1:]]
    return means | {"seam": float(np.median(seams)), "worst_seams": float(np.quantile(seams, 0.95))}


def table(figures: dict[str, dict[str, float]]) -> str:
    names = list(next(iter(figures.values())))
    rows = [["", *names], *([name, *(f"{row[n]:.2f}" for n in names)] for name, row in figures.items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120, help="of video")
    parser.add_argument("--px", type=int, default=128, help="of the frames")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--checkpoint", type=Path, default=bundle.FOLDER / "net.safetensors")
    parser.add_argument("--vae", type=Path, default=bundle.FOLDER / "vae.safetensors")
    parser.add_argument("--encoder", type=Path, default=bundle.FOLDER / "wav2vec2")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", choices=("known", "net", "crossed"))
    parser.add_argument("--plot", type=Path, help="where to draw the figures, as a PNG; two of them: -known, -net")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    arguments = parser.parse_args()
    runs = {
        "known": lambda: known(arguments.px, arguments.seconds),
        "net": lambda: net(arguments),
        "crossed": lambda: (crossed(arguments.px), {}),
    }
    figures: dict[str, dict] = {}
    for name, run in runs.items():
        if arguments.only in (None, name):
            figures[name], meters = run()
            if arguments.plot and meters:
                path = arguments.plot.with_stem(f"{arguments.plot.stem}-{name}")
                Image.fromarray(drift_plot({n: meters[n] for n in PLOTTED if n in meters})).save(path)
    if arguments.json:
        print(json.dumps(figures))
        return
    for name, found in figures.items():
        print(f"{name}\n{table(found)}\n")


if __name__ == "__main__":
    main()
