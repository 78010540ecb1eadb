"""Evaluate the small model on unseen drawn people and sentences, each figure with a control.

    python -m tools.demo_model.evaluate            through ComfyUI's nodes
    python -m tools.demo_model.evaluate --quick    some of the figures, of four clips

People are drawn and voices are espeak-ng's: the results say nothing about photographs. A control must miss the mark:
if it meets it too, the figure proves nothing, and counts as missed.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import torch
from PIL import Image

from joyhallo.config import FPS
from joyhallo.diffusion.codec import load_codec
from joyhallo.drawn import voice
from joyhallo.evaluation.drawn.acceptance import FIGURES, QUICK, SOON, Figure, Mark, Plan, Takes, sheet
from joyhallo.evaluation.drawn.makers import NET, VAE, EvaluationError, How, Maker, check, open_engine
from joyhallo.evaluation.drawn.talks import talks
from joyhallo.files.contents import WeightsError
from joyhallo.files.digests import sha256
from joyhallo.libraries import LibraryError
from joyhallo.methods.hallo.checkpoint import open_checkpoint
from joyhallo.methods.hallo.presets import PRESETS
from joyhallo.sound.wav2vec2 import SpeechError

from ..comfyui.films import open_nodes

MODEL = Path(__file__).parents[2] / "demo_model"


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    torch.set_num_threads(1)  # small networks gain nothing from more, and round differently with them
    try:
        check(chosen.model)
        plan, names = planned(chosen)
        voice.check()
        return _measure(chosen, plan, names)
    except (WeightsError, EvaluationError, LibraryError, SpeechError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2


def _measure(chosen: argparse.Namespace, plan: Plan, names: Sequence[str]) -> int:
    how = How(chosen.size, chosen.preset, chosen.steps, chosen.guidance, (1.0, 1.0, chosen.lip))
    codec = load_codec(chosen.model / VAE, dtype=torch.float32) if "ruler" in names else None
    print(_about(chosen.model, how, plan, chosen.engine), flush=True)
    with _maker(chosen.model, how, chosen.engine) as maker:
        takes = Takes(maker, talks(plan.clips, plan.frames, how.size), plan, codec)
        figures = {}
        for name in names:
            figures[name] = FIGURES[name](takes)
            print(line(figures[name]), flush=True)
        if chosen.sheet:
            Image.fromarray(sheet(takes)).save(chosen.sheet)
    if chosen.json:
        chosen.json.write_text(json.dumps(_facts(chosen.model, how, plan, figures), indent=2) + "\n", encoding="utf-8")
    return concluded(list(figures.values()))


def planned(chosen: argparse.Namespace) -> tuple[Plan, Sequence[str]]:
    plan = QUICK if chosen.quick else Plan()
    clips = plan.clips if chosen.clips is None else chosen.clips
    if not 2 <= clips <= plan.people:
        raise EvaluationError(f"The number of clips is {clips}; give 2 (controls are other clips) to {plan.people}.")
    plan = replace(plan, clips=clips, seeds=tuple(chosen.seeds))
    return plan, chosen.only or (SOON if chosen.quick else tuple(FIGURES))


@contextmanager
def _maker(folder: Path, how: How, engine: bool) -> Iterator[Maker]:
    if engine:
        yield open_engine(folder, how)
        return
    with open_nodes(folder, how) as nodes:
        yield nodes


# ---- what is said


def _about(folder: Path, how: How, plan: Plan, engine: bool) -> str:
    note = open_checkpoint(folder / NET).config.note
    return "\n".join([
        f"{folder / NET} (SHA-256 {sha256(folder / NET)[:12]}){': ' + note if note else ''}",
        f"{plan.clips} clips of {plan.frames / FPS:g} s by as many drawn people, {plan.clips * plan.frames / FPS:g} s "
        f"in all; {how.size} pixels, {how.steps or PRESETS[how.preset].steps} steps, guidance {how.guidance:g}, "
        f"lip weight {how.usual[-1]:g}, {'the engine alone' if engine else 'through the nodes'}",
        "",
        f"{'':<36} {'found':>6}  {'95 %':<14} {'mark':<14} {'':<13}  control: what must miss the mark",
    ])  # fmt: skip


def line(figure: Figure) -> str:
    """A row of the table."""

    def written(value: float) -> str:
        return format(value, figure.form)

    between = "" if figure.interval is None else f"{written(figure.interval[0])} to {written(figure.interval[1])}"
    beside = f"  ({figure.beside})" if figure.beside else ""
    return (
        f"{figure.name:<36} {written(figure.value):>6}  {between:<14} {_wanted(figure.mark):<14} {figure.verdict:<13}  "
        f"{written(figure.controlled)} {figure.control}{beside}"
    )


def _wanted(mark: Mark) -> str:
    if mark.least == -math.inf:
        return f"at most {mark.most:.3g}"
    if mark.most == math.inf:
        return f"at least {mark.least:.3g}"
    return f"{mark.least:g} to {mark.most:g}"


def concluded(figures: Sequence[Figure]) -> int:
    """The exit code."""
    missed = [figure.name for figure in figures if figure.verdict != "met"]
    print(f"\n{len(figures) - len(missed)} of {len(figures)} marks are met.")
    if missed:
        print(f"Not met: {'; '.join(missed)}.")
    return 1 if missed else 0


def _facts(folder: Path, how: How, plan: Plan, figures: dict[str, Figure]) -> dict:
    told: dict[str, dict] = {name: asdict(figure) | {"verdict": figure.verdict} for name, figure in figures.items()}
    for name, figure in figures.items():
        sides = figure.mark.least, figure.mark.most
        told[name]["mark"] = [None if math.isinf(side) else side for side in sides]
    return {"model": sha256(folder / NET), "how": asdict(how), "plan": asdict(plan), "figures": told}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.demo_model.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="The exit code is 0 if all marks are met, 1 if one is not, 2 if nothing could be measured.",
    )
    how, plan = How(), Plan()
    parser.add_argument("--model", type=Path, default=MODEL, metavar="FOLDER", help="as demo_model/ is, the default")
    parser.add_argument("--engine", action="store_true", help="the engine alone, without ComfyUI: faster")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK.clips} clips, and {', '.join(SOON)}")
    parser.add_argument("--clips", type=int, help=f"of as many people (default: {plan.clips})")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(plan.seeds), help="dealt to the clips in turn")
    parser.add_argument("--preset", choices=list(PRESETS), default=how.preset)
    parser.add_argument("--steps", type=int, default=how.steps, help="0: the preset's (default: %(default)s)")
    parser.add_argument("--guidance", type=float, default=how.guidance, help="default: %(default)s")
    parser.add_argument("--lip", type=float, default=how.usual[-1], help="the usual lip weight (default: %(default)s)")
    parser.add_argument("--size", type=int, default=how.size, help="pixels of each side (default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=list(FIGURES), metavar="FIGURE", help=f"of {', '.join(FIGURES)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all figures, also clip by clip")
    parser.add_argument("--sheet", type=Path, metavar="FILE.png", help="drawn and generated frames, to look at")
    return parser


if __name__ == "__main__":
    sys.exit(main())
