"""The effect of the sampler's settings on the mouth and the picture around it, where the truth is known.

    OMP_NUM_THREADS=1 python -m benchmarks.talking
    OMP_NUM_THREADS=1 python -m benchmarks.talking --only steps guidance --clips 4 --json
    OMP_NUM_THREADS=1 python -m benchmarks.talking --only spans --steps 6 --seeds 42 43 44
    OMP_NUM_THREADS=1 python -m benchmarks.talking --recordings VOICE.wav OTHER.wav

The bundled small model lets drawn people speak whom it never met, each curve with one setting changed. Against the
truth: the correlation of the mouth, what is left of it given loudness, how far it moves, and decibels of the face
beside the lips and of what is around it. Without a truth: the step from frame to frame, the step at joints in usual
steps, and how many levels even frames are from odd ones. Against the curve's first row: what the mouth gained, person
by person, give or take two standard errors, and how close the frames are. `seconds` are a processor's for a second of
video.

Recordings have no truth: mouths are compared with the loudness of their own recording, and of the others.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, cycle
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from joyhallo.config import FPS
from joyhallo.data.dataset import SAMPLES
from joyhallo.diffusion.schedule import Schedule
from joyhallo.diffusion.solvers import DDIM, SOLVERS, Method
from joyhallo.evaluation.drawn.acceptance import ALL, HEARD
from joyhallo.evaluation.drawn.makers import Engine, How, open_engine
from joyhallo.evaluation.drawn.talks import Talk, loudness, talks
from joyhallo.evaluation.figures import Film, psnr, steps
from joyhallo.measures.curves import correlation, lagged, partial
from joyhallo.methods.hallo import sampling
from joyhallo.methods.hallo.config import CHUNK_FRAMES
from joyhallo.methods.hallo.likeness import by_colours
from joyhallo.methods.hallo.networks.attention import Reading
from joyhallo.methods.hallo.presets import PRESETS
from joyhallo.methods.hallo.sampling import Sampler
from joyhallo.methods.hallo.steadiness import Steadiness
from joyhallo.sound.audio import prepare, read
from tools.demo_model.evaluate import MODEL

Row = dict[str, float]

SEED = 42
PLAIN = Steadiness()
REACH = 5  # frames that a mouth may be early or late
ANCHORS = 16  # chunks after which the portrait is continued again
WINDOW = 20 * FPS  # frames of a long talk that are told of together
RECORDED = 10 * FPS  # frames at most that are made of a recording


@dataclass(frozen=True)
class Change:
    """A change of the usual settings."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    steady: Steadiness = PLAIN
    anchored: int = 0  # every so many chunks
    recognised: bool = False  # whose face it is is told, as with a recogniser
    kept: Callable[[Tensor], Tensor] | None = None  # a matrix of weights, as it is after it was kept in fewer bits
    within: Callable[[], AbstractContextManager] = nullcontext


def weighted(**weights: float) -> Change:
    """A change of the weights of pose, expression and lip."""
    usual = dict(zip(("pose", "expression", "lip"), ALL, strict=True))
    return Change({"weights": tuple((usual | weights).values())})


PARTS: Mapping[str, tuple[float, float]] = {
    "whole": (0, 1),
    "first half": (0, 1 / 2),
    "second half": (1 / 2, 1),
    "first third": (0, 1 / 3),
    "middle third": (1 / 3, 2 / 3),
    "last third": (2 / 3, 1),
}


def spans(*scales: float) -> dict[str, Change]:
    """No guidance, and each scale on parts of the way."""
    parts = {
        f"{scale:g}, {name}": Change({"guidance": scale, "guidance_span": part})
        for scale in scales
        for name, part in PARTS.items()
    }
    return {"none": Change(), **parts}


# ---- weights in fewer bits, as ComfyUI's layers keep them: matrices alone


def kept_as(dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    return lambda matrix: matrix.to(dtype).to(matrix)


def kept_scaled(matrix: Tensor) -> Tensor:
    """With the largest of its numbers at the end of the range."""
    eight = torch.float8_e4m3fn
    scale = matrix.abs().max() / torch.finfo(eight).max
    return kept_as(eight)(matrix / scale) * scale


def keeping(engine: Engine, kept: Callable[[Tensor], Tensor]) -> Engine:
    net = copy.deepcopy(engine.model.net)
    for parameter in net.parameters():
        if parameter.ndim >= 2:
            parameter.data = kept(parameter.data)
    return replace(engine, model=replace(engine.model, net=net))


# ---- the original's ways, otherwise


def always_the_second() -> AbstractContextManager:
    """All frames read the encoding of the portrait that knows whose face it is."""

    def guided(chunk: Any, first: int) -> list[Reading]:
        return [Reading(slice(first, first + chunk.frames), 1)]

    return mock.patch.object(sampling, "_guided", guided)


def without_gaps() -> AbstractContextManager:
    """Steps of DDIM end where the next ones begin."""
    return mock.patch.dict(SOLVERS, ddim=Method(Schedule.chain, DDIM))


def rescaled(share: float = 0.7) -> AbstractContextManager:
    """Rescale guidance, by this share, to the spread of the conditional row: arXiv 2305.08891."""
    guide = Sampler.guide

    def spread(velocity: Tensor) -> Tensor:
        return velocity.std(tuple(range(1, velocity.ndim)), keepdim=True)

    def rescaling(sampler: Sampler, rows: list[Tensor]) -> Tensor:
        guided = guide(sampler, rows)
        return guided * (1 - share + share * spread(rows[-1]) / spread(guided))

    return mock.patch.object(Sampler, "guide", rescaling)


ORIGINALS: Mapping[str, Change] = {
    "as the original": Change(recognised=True),
    "one encoding of the portrait for all frames": Change(recognised=True, within=always_the_second),
    "four motion frames": Change({"motion_frames": 4}, recognised=True),
    "one motion frame": Change({"motion_frames": 1}, recognised=True),
    "no motion frames": Change({"motion_frames": 0}, recognised=True),
    "each chunk begun from the portrait": Change(anchored=1, recognised=True),
}

SWEEPS: Mapping[str, Mapping[str, Change]] = {
    "steps": {str(count): Change({"steps": count}) for count in (1, 2, 3, 4, 6, 8, 12, 20)},
    "presets": {name: Change(asdict(preset)) for name, preset in PRESETS.items()},
    "guidance": {f"{scale:g}": Change({"guidance": scale}) for scale in (1.0, 1.5, 2.0, 3.5, 5.0)},
    "spans": spans(1.5, 3.5),
    "rescaled": {f"{scale:g}": Change({"guidance": scale}, within=rescaled) for scale in (1.5, 2.0, 3.5)},
    "lip": {f"{weight:g}": weighted(lip=weight) for weight in (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)},
    "expression": {f"{weight:g}": weighted(expression=weight) for weight in (0.0, 1.0, 2.0)},
    "pose": {f"{weight:g}": weighted(pose=weight) for weight in (0.0, 1.0, 2.0)},
    "joints": {
        "as it comes": Change(),
        "overlap of 2": Change({"overlap": 2}),
        "overlap of 4": Change({"overlap": 4}),
        "fade over 4": Change(steady=Steadiness(fade=4)),
    },
    "weights": {
        "fp32": Change(),
        "bf16": Change(kept=kept_as(torch.bfloat16)),
        "fp8_e4m3fn": Change(kept=kept_as(torch.float8_e4m3fn)),
        "fp8_e4m3fn, scaled": Change(kept=kept_scaled),
        "fp8_e5m2": Change(kept=kept_as(torch.float8_e5m2)),
    },
    "originals": ORIGINALS,
    "strides": {
        "6 steps": Change({"steps": 6}),
        "6 steps, without gaps": Change({"steps": 6}, within=without_gaps),
        "12 steps": Change({"steps": 12}),
        "12 steps, without gaps": Change({"steps": 12}, within=without_gaps),
    },
}
LONG: Mapping[str, Change] = {
    "as it comes": Change(),
    "colour hold": Change(steady=Steadiness(hold_colours=True)),
    "anchored every 10 s": Change(anchored=ANCHORS),
    "hold, anchored": Change(steady=Steadiness(hold_colours=True), anchored=ANCHORS),
}


@dataclass(frozen=True)
class Made:
    """What a row made of each person: films of several seeds, and the mouth's correlation."""

    films: Sequence[Sequence[Film]]
    mouths: Sequence[float]

    def against(self, other: Made) -> Row:
        gains = np.subtract(self.mouths, other.mouths)
        pairs = zip(chain(*self.films), chain(*other.films), strict=True)
        return {
            "gained": float(gains.mean()),
            "give or take": 2 * float(gains.std(ddof=1)) / math.sqrt(len(gains)) if len(gains) > 1 else math.nan,
            "close": float(np.mean([psnr(mine, its, np.ones(mine.shape[1:3], bool)) for mine, its in pairs])),
        }


@dataclass(frozen=True)
class Bench:
    engine: Engine
    said: Sequence[Talk]
    long: Talk
    seeds: Sequence[int] = (SEED,)

    def film(self, talk: Talk, change: Change, seed: int = SEED) -> Film:
        settings = replace(self.engine.how.settings(ALL, seed), **change.settings)
        whose = (lambda talk: by_colours(talk.portrait, talk.sitter.face())) if change.recognised else None
        engine = replace(self.engine, whose=whose)
        engine = keeping(engine, change.kept) if change.kept else engine
        chunks = math.ceil(talk.length / CHUNK_FRAMES)
        anchors = range(change.anchored, chunks, change.anchored) if change.anchored else ()
        with change.within():
            steady = change.steady.steady(engine.portrait(talk))
            return engine.film(talk, talk.samples, settings, steady=steady, anchors=anchors)

    def sweep(self, changes: Mapping[str, Change]) -> Iterator[tuple[str, Row]]:
        first: Made | None = None
        for name, change in changes.items():
            before = time.process_time()
            films = [[self.film(talk, change, seed) for seed in self.seeds] for talk in self.said]
            seconds = (time.process_time() - before) / sum(len(film) / FPS for of_one in films for film in of_one)
            joint = CHUNK_FRAMES - int(change.settings.get("overlap", 0))
            rows = [
                mean([told(talk, film, joint) for film in of_one])
                for talk, of_one in zip(self.said, films, strict=True)
            ]
            made = Made(films, [row["mouth"] for row in rows])
            first = first or made
            yield name, mean(rows) | made.against(first) | {"seconds": seconds}

    def lag(self) -> Iterator[tuple[str, Row]]:
        """The correlation with the true mouth shifted by frames, and its peak between frames."""
        pairs = [(talk.gauge.opening(self.film(talk, Change()))[HEARD], talk.opening[HEARD]) for talk in self.said]
        curve = np.mean([lagged(mouth, truth, REACH) for mouth, truth in pairs], axis=0)
        yield "mouth", {f"{late:+d}": float(value) for late, value in zip(range(-REACH, REACH + 1), curve, strict=True)}
        at = int(curve[1:-1].argmax()) + 1
        bend = curve[at - 1] - 2 * curve[at] + curve[at + 1]
        yield "peak", {"frames late": at - REACH + 0.5 * float((curve[at - 1] - curve[at + 1]) / bend)}

    def heard(self, recordings: Sequence[Path]) -> Iterator[tuple[str, Row]]:
        """The correlation of mouths with the loudness of their own recording, and of the others'."""
        loud, mouths = [], []
        for path, talk in zip(recordings, cycle(self.said)):
            samples = prepare(*read(path)).samples
            samples = samples[: min(len(samples) // SAMPLES, RECORDED) * SAMPLES]
            mouths.append(talk.gauge.opening(self.film(replace(talk, samples=samples), Change())))
            loud.append(loudness(samples)[:, 0])
        count = min(map(len, mouths))
        for at, (path, mouth) in enumerate(zip(recordings, mouths, strict=True)):
            told = [correlation(mouth[:count][HEARD], other[:count][HEARD]) for other in loud]
            yield path.name, {"its loudness": told.pop(at), **{f"another's, {i}": r for i, r in enumerate(told, 1)}}

    def drift(self) -> Iterator[tuple[str, Row]]:
        for name, change in LONG.items():
            film, talk = self.film(self.long, change), self.long
            for start in range(0, len(film), WINDOW):
                part = slice(start, start + WINDOW)
                row = told(talk, film[part], CHUNK_FRAMES, part, offset=-start % CHUNK_FRAMES)
                yield f"{name}, from {start // FPS} s", row


def told(talk: Talk, film: Film, joint: int, part: slice = slice(None), offset: int = 0) -> Row:
    """The figures of a film of a talk. joint: frames from one joint to the next; offset: the first one's."""
    heard = HEARD if part.start in (None, 0) else slice(None)
    mouth, truth = talk.gauge.opening(film)[heard], talk.opening[part][heard]
    drawn, change = talk.truth[part], steps(film, talk.beside_lips)
    seams = np.arange(offset or joint, len(film), joint) - 1
    still = film[:, talk.beside_lips].astype(float).mean((1, 2))
    return {
        "mouth": correlation(mouth, truth),
        "given loudness": partial(mouth, truth, loudness(talk.samples)[part][heard]),
        "moves": float(mouth.std() / truth.std()),
        "face": psnr(film, drawn, talk.face),
        "around": psnr(film, drawn, talk.around),
        "step": float(change.mean()),
        "joint": float(change[seams].mean() / np.median(np.delete(change, seams))) if len(seams) else math.nan,
        "even, odd": float(abs(still[::2].mean() - still[1::2].mean())),
    }


def mean(rows: Sequence[Row]) -> Row:
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    how, names = How(), ("lag", *SWEEPS, "drift")
    parser.add_argument("--model", type=Path, default=MODEL, metavar="FOLDER", help="as demo_model/ is, the default")
    parser.add_argument(
        "--only", nargs="+", choices=names, default=names, metavar="CURVE", help=f"of {', '.join(names)}"
    )
    parser.add_argument("--clips", type=int, default=6)
    parser.add_argument("--frames", type=int, default=64, help="of each clip")
    parser.add_argument("--long", type=float, default=120, help="seconds of the long talk, for drift")
    parser.add_argument("--steps", type=int, default=how.steps, help="where they are not what is changed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[SEED], help="of the curves but lag and drift")
    parser.add_argument("--recordings", type=Path, nargs="+", metavar="FILE", help="of voices, instead of the curves")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each row")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    engine = open_engine(chosen.model, replace(how, steps=chosen.steps, usual=ALL))
    said = talks(chosen.clips, chosen.frames, how.size)
    (long,) = talks(1, round(chosen.long * FPS), how.size)
    bench = Bench(engine, said, long, chosen.seeds)
    for curve in ("heard",) if chosen.recordings else chosen.only:
        special = {"lag": bench.lag, "drift": bench.drift, "heard": lambda: bench.heard(chosen.recordings)}
        rows = special.get(curve, lambda: bench.sweep(SWEEPS[curve]))  # noqa: B023
        for name, row in rows():
            print(
                json.dumps({"curve": curve, "row": name, **row}) if chosen.json else readable(curve, name, row),
                flush=True,
            )


def readable(curve: str, name: str, row: Row) -> str:
    return f"{curve}: {name:<44}" + "  ".join(f"{key} {value:.2f}" for key, value in row.items())


if __name__ == "__main__":
    main()
