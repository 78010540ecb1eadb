"""Score films: lip sync, quality, steadiness, likeness to a truth - each with controls that show what it is worth.

A folder of films, or films by name. Files that belong to them are found by their names without the ending, or one
file serves all. What needs weights that are not there is left out and says which file it takes; nothing is downloaded.
A run that was broken off goes on where it stopped.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ..faces.find import FaceError
from ..libraries import LibraryError
from ..measures.judges import judges_in
from ..measures.table import CHOICES, MEASURES
from ..streams import escape_what_is_lacking
from .clips import Beside, ClipsError, found
from .elsewhere import ElsewhereError
from .one_align import PAGE, Interpreter, check
from .outcome import write_outcome
from .panel import ABSENT, OPTIONS, PROTOCOLS, Asked
from .records import Record
from .running import Shares, evaluate
from .showing import Finding

EXAMPLES = """examples:
  python -m joyhallo.evaluation films/ --landmarker face_landmarker.task
  python -m joyhallo.evaluation films/ --sound voices/ --truth real/ --weights models/metrics --metrics all
  python -m joyhallo.evaluation redubbed/ --source originals/ --metrics lip_sync,leak,outside --workers 4

The exit code is 0 if every clip was measured, 1 if one failed, 2 if nothing was begun; with --strict, 1 if any measure
that was asked for is missing."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        names = _names(chosen.metrics)
        clips = found(chosen.clips, Beside(chosen.sound, chosen.truth, chosen.portrait, chosen.source))
        wanted = {MEASURES[name].judge for name in names}
        weights = {judge: path for judge, path in judges_in(chosen.weights).items() if judge in wanted}
        finding = Finding(_landmarker(chosen), str(chosen.face_models or ""), _box(chosen.box))
        interpreter = _interpreter(chosen) if "qalign" in wanted else None
        if interpreter is not None:
            weights["qalign"] = chosen.qalign_model
        asked = Asked(names, weights, finding, _given(chosen), chosen.protocol, chosen.device, interpreter)
        sys.stdout.write(f"{_plan(len(clips), asked)}\n")
        records = evaluate(clips, asked, chosen.out, Shares(_workers(chosen, interpreter), chosen.ray), _show)
    except (LibraryError, OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write(f"Stopped. What is finished is kept in {chosen.out}: the same command goes on from there.\n")
        return 130
    told = write_outcome(records, asked, clips, chosen.out, ["python", "-m", "joyhallo.evaluation", *sys.argv[1:]])
    sys.stdout.write(f"{told}\n")
    if any(record.failed for record in records):
        return 1
    return 1 if chosen.strict and any(_lacks(record, names) for record in records) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m joyhallo.evaluation",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("clips", type=Path, nargs="+", metavar="CLIPS", help="films, or folders of them")
    parser.add_argument("-o", "--out", type=Path, default=Path("evaluation"), help="folder of the report (%(default)s)")
    parser.add_argument(
        "--metrics",
        default="free",
        metavar="NAMES",
        help=f"{', '.join(CHOICES)}, or names with commas between; `list` shows them (default: %(default)s)",
    )
    beside = parser.add_argument_group("what belongs to the clips: a file for all, or a folder with one for each")
    beside.add_argument("--sound", type=Path, help="instead of their own")
    beside.add_argument("--truth", type=Path, help="real films of the same, to compare with")
    beside.add_argument("--portrait", type=Path, help="the pictures they were made from")
    beside.add_argument("--source", type=Path, help="the films that redubs began with")
    faces = parser.add_argument_group("who finds faces")
    faces.add_argument("--landmarker", type=Path, metavar="FILE", help="MediaPipe's face_landmarker.task, 4 MB")
    faces.add_argument("--face-models", type=Path, metavar="FOLDER", help="InsightFace's, for likeness as well")
    faces.add_argument("--box", metavar="L,T,R,B", help="where the face is, in pixels, in all clips: for drawings")
    judges = parser.add_argument_group("who judges")
    judges.add_argument(
        "--weights",
        type=Path,
        action="append",
        default=[],
        metavar="PLACE",
        help="a folder with the judges' files, or one of them; may be given again. They are known by their contents",
    )
    judges.add_argument("--protocol", choices=PROTOCOLS, default=PROTOCOLS[0], help="of SyncNet (default: %(default)s)")
    judges.add_argument("--device", default="cpu", help="such as cuda (default: %(default)s)")
    qalign = parser.add_argument_group(
        "Q-Align, for iqa and vqa",
        "A language model of 16 GB, which runs in another Python, with transformers 4.36 and the model's own code.\nIt "
        "takes some 20 GB of a GPU's memory, or as much of the machine's, and far longer.",
    )
    qalign.add_argument("--qalign-python", metavar="PATH", help="the interpreter of that environment")
    qalign.add_argument("--qalign-model", type=Path, metavar="FOLDER", help=f"a copy of {PAGE}; its code will be run")
    qalign.add_argument(
        "--qalign-device", default="cuda", metavar="DEVICE", help="cpu, auto: all there are (default: %(default)s)"
    )
    who = parser.add_argument_group("how")
    who.add_argument(
        "--workers", type=int, metavar="N", help=f"processes (default: {os.cpu_count() or 1}; 1 with Q-Align)"
    )
    who.add_argument("--ray", nargs="?", const="auto", metavar="ADDRESS", help='of a cluster; "local": a new one')
    who.add_argument("--strict", action="store_true", help="whether a missing measure counts as a failure")
    return parser


def _names(text: str) -> tuple[str, ...]:
    if text == "list":
        raise ClipsError("\n".join(f"{name:<16} {measure.title}: {measure.says}" for name, measure in MEASURES.items()))
    names = [name for part in text.split(",") for name in CHOICES.get(part.strip(), (part.strip(),))]
    unknown = [name for name in names if name not in MEASURES]
    if unknown:
        known = ", ".join((*CHOICES, *MEASURES))
        raise ClipsError(f"--metrics has {unknown[0]!r}, which is no measure; choose of: {known}.")
    return tuple(name for name in MEASURES if name in names)


def _given(chosen: argparse.Namespace) -> tuple[str, ...]:
    return tuple(name for name in OPTIONS if getattr(chosen, name) is not None)


def _interpreter(chosen: argparse.Namespace) -> Interpreter | None:
    """Who runs Q-Align, if it can be run at all; None where it was not asked for."""
    python, folder = chosen.qalign_python, chosen.qalign_model
    if python is None and folder is None:
        return None
    if python is None or folder is None:
        raise ElsewhereError("Q-Align takes both --qalign-python and --qalign-model.")
    if chosen.ray is not None:
        raise ElsewhereError("Q-Align is not run on a cluster; leave out --ray, or measure it in a run of its own.")
    interpreter = Interpreter(python, chosen.qalign_device)
    check(interpreter, folder)
    return interpreter


def _workers(chosen: argparse.Namespace, interpreter: Interpreter | None) -> int:
    """Each process loads a Q-Align of its own."""
    if chosen.workers is not None:
        return chosen.workers
    return 1 if interpreter else os.cpu_count() or 1


def _landmarker(chosen: argparse.Namespace) -> str:
    if chosen.landmarker is None:
        return ""
    if not chosen.landmarker.is_file():
        raise FaceError(f"There is no file {chosen.landmarker}; --landmarker takes MediaPipe's face_landmarker.task.")
    return str(chosen.landmarker.absolute())


def _box(text: str | None) -> tuple[float, float, float, float] | None:
    if text is None:
        return None
    try:
        left, top, right, bottom = map(float, text.split(","))
    except ValueError:
        left = top = right = bottom = 0.0
    if not (left < right and top < bottom):
        raise FaceError(
            f"--box is {text!r}; expected four numbers, left, top, right and bottom, such as 120,80,360,400."
        )
    return left, top, right, bottom


def _plan(clips: int, asked: Asked) -> str:
    faces = asked.finding.backend or "nobody finds them"
    line = f"{clips} clip{'' if clips == 1 else 's'}, {len(asked.possible)} measures; faces: {faces}"
    return "\n".join([line, *(f"not there: {ABSENT[judge]}" for judge in asked.absent)])


def _show(done: int, total: int, record: Record) -> None:
    about = record.failed or f"{len(record.values)} figures in {sum(record.seconds.values()):.1f} s"
    sys.stdout.write(f"{done} of {total}  {record.name}  {about}\n")
    sys.stdout.flush()


def _lacks(record: Record, names: Sequence[str]) -> bool:
    return any(name not in record.values for name in names if MEASURES[name].over != "set")


if __name__ == "__main__":
    escape_what_is_lacking()
    sys.exit(main())
