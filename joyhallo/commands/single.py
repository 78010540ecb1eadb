"""The commands talk and redub: one film."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ..files.digests import stamps
from .crew import ALONE, Crew
from .jobs import INPUTS, OPTIONS, Compute, Job, Made, make
from .places import checked_input, checked_output
from .provision import provided
from .shelf import Shelf
from .terminal import Terminal, lasting
from .unfinished import beside


def run(chosen: Namespace, terminal: Terminal) -> int:
    job = job_of(chosen)
    checked_output(job.output, job.replacing)
    for name, path in job.inputs.items():
        if name != "model":
            checked_input(path, name)
    job = provided(job, Shelf.of(chosen.models), chosen.fetch, terminal.progress)
    job = replace(job, number=job.key(stamps)[:32])
    try:
        made = make(job, terminal.progress)
    except BaseException:
        if beside(job.output).is_dir():
            terminal.say(f"What is finished is kept in {beside(job.output)}, and the same command goes on from there.")
        raise
    terminal.result("\n".join(said(made)), facts(made))
    return 0


def job_of(chosen: Namespace) -> Job:
    kind = chosen.command
    inputs = {name: getattr(chosen, name) for name in INPUTS[kind]}
    options = {option.name: getattr(chosen, option.name) for option in OPTIONS[kind]}
    crew = Crew(chosen.workers, chosen.ray, chosen.gpus) if kind == "redub" else ALONE
    # Whoever begins the work may have no graphics card, but must know in which precision others make it.
    precision = "fp16" if crew.gpus and chosen.weight_dtype == "auto" else chosen.weight_dtype
    compute = Compute(chosen.device, precision)
    return Job(kind, inputs, options, chosen.output, compute, "", chosen.force, chosen.resume, crew)


def said(made: Made) -> Iterator[str]:
    pace = f"{made.frames / made.took:.1f} frames a second" if made.took else ""
    yield f"{made.file}: {made.seconds:.2f} s of film, {made.frames} frames, made in {lasting(made.took)} ({pace})"
    for name, value in made.facts.items():
        if name in ("model", "licence", "labels", "not_used", "drift", "frames_of_an_earlier_run") and value:
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
