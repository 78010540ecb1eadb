"""The commands talk and redub: one film."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from typing import Any

from .jobs import INPUTS, OPTIONS, Compute, Job, Made, make
from .places import checked_input, checked_output
from .provision import provided
from .shelf import Shelf
from .terminal import Terminal, lasting


def run(chosen: Namespace, terminal: Terminal) -> int:
    job = job_of(chosen)
    checked_output(job.output, job.replacing)
    for name, path in job.inputs.items():
        if name != "model":
            checked_input(path, name)
    job = provided(job, Shelf.of(chosen.models), chosen.fetch, terminal.progress)
    made = make(job, terminal.progress)
    terminal.result("\n".join(said(made)), facts(made))
    return 0


def job_of(chosen: Namespace) -> Job:
    kind = chosen.command
    inputs = {name: getattr(chosen, name) for name in INPUTS[kind]}
    options = {option.name: getattr(chosen, option.name) for option in OPTIONS[kind]}
    return Job(kind, inputs, options, chosen.output, Compute(chosen.device, chosen.weight_dtype), "", chosen.force)


def said(made: Made) -> Iterator[str]:
    pace = f"{made.frames / made.took:.1f} frames a second" if made.took else ""
    yield f"{made.file}: {made.seconds:.2f} s of film, {made.frames} frames, made in {lasting(made.took)} ({pace})"
    for name, value in made.facts.items():
        if name in ("model", "licence", "labels", "not_used", "drift") and value:
            yield f"{name.replace('_', ' ')}: {value}"
        elif name == "face":
            yield from [f"face: {value}"] if isinstance(value, str) else value


def facts(made: Made) -> dict[str, Any]:
    return {
        "file": str(made.file),
        "frames": made.frames,
        "seconds": round(made.seconds, 3),
        "took": round(made.took, 3),
        **made.facts,
        "notices": list(made.notices),
    }
