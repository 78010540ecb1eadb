"""The command batch: a film of every row of a table. What is done already is not done again."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

from ... import SOFTWARE
from ...files.scratch import write_whole
from ..jobs import Compute, Job
from ..terminal import Terminal
from .manifest import DONE, NAME, Entry, Manifest, file_name, read_of
from .table import TableError, Task, defaults_of, read_table, tasks_of

PAGE = "index.html"
MODELS = ("model", "landmarker", "face_models", "vae", "whisper", "hubert", "parser", "detector", "box", "mask",
          "lip_mask")  # fmt: skip


def run(chosen: Namespace, terminal: Terminal) -> int:
    if chosen.workers < 0:
        raise TableError(f"--workers {chosen.workers}: expected 0 for this process alone, or a number of processes.")
    if chosen.gpus and not chosen.ray:
        raise TableError(
            f"--gpus {chosen.gpus:g} was given without --ray; expected both, or neither with --device cuda."
        )
    folder = chosen.output.absolute()
    if folder.exists() and not folder.is_dir():
        raise TableError(f"The output {chosen.output} is a file; expected a folder for the films.")
    rows = read_table(chosen.table, chosen.encoding)
    compute = Compute(chosen.device, chosen.weight_dtype)
    tasks = tasks_of(chosen.table, rows, folder, defaults_of(chosen.set), compute)
    manifest = Manifest.of(folder)
    tasks = _provided(tasks, chosen, terminal)
    waiting = [task for task in tasks if not manifest.is_done(task, folder)]
    waiting = list(_not_recovered(waiting, folder, manifest))
    earlier = len(tasks) - len(waiting)
    terminal.say(f"{len(tasks)} rows: {earlier} done already, {len(waiting)} to do.")
    if chosen.check:
        terminal.result("The table is good.", {"rows": len(tasks), "done": earlier, "to_do": len(waiting)})
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with redirect_stdout(sys.stderr):  # Ray prints there what died; the output is for the result alone
            _note(_worked_off(waiting, folder, chosen), len(waiting), manifest, terminal)
    finally:
        _write_page(tasks, folder, manifest, chosen.table)
    return _concluded(tasks, earlier, folder, manifest, terminal)


def _note(entries: Iterable[Entry], count: int, manifest: Manifest, terminal: Terminal) -> None:
    for done, entry in enumerate(entries, 1):
        manifest.add(entry)
        terminal.begun = True
        if entry["state"] != DONE:
            terminal.say(f"row {entry['row']}, {entry['file']}: {entry['error']}")
        terminal.progress("Batch", done, count, "rows")


def _provided(tasks: Sequence[Task], chosen: Namespace, terminal: Terminal) -> list[Task]:
    """With the files of their models, which few rows have of their own."""
    from ..provision import provided
    from ..shelf import MissingError, Shelf

    shelf, known, found = Shelf.of(chosen.models), dict[tuple[Any, ...], Job](), list[Task]()
    for task in tasks:
        job = task.job
        named = (job.kind, job.inputs.get("model"), *map(job.options.get, MODELS))
        if named not in known:
            try:
                known[named] = provided(job, shelf, chosen.fetch, terminal.progress)
            except MissingError as error:
                raise TableError(f"{chosen.table}, row {task.row}, column model: {error}") from error
        first = known[named]
        files = {name: value for name, value in first.options.items() if name in MODELS}
        inputs = {name: first.inputs[name] if name == "model" else path for name, path in job.inputs.items()}
        found.append(replace(task, job=replace(job, inputs=inputs, options={**job.options, **files})))
    return found


def _not_recovered(tasks: Sequence[Task], folder: Path, manifest: Manifest) -> Iterator[Task]:
    """Films that are there though the manifest lacks them: a label tells whether a killed run had just finished them.

    A file that nobody here made is never replaced.
    """
    for task in tasks:
        name = file_name(task, folder)
        if name in manifest.last or not os.path.exists(task.job.output):
            yield task
            continue
        record = _record(task.job.output)
        key = manifest.key(task.job)
        if key[:32] in record:
            manifest.add(_recovered(task, name, key))
        elif f'"ContentProducer":"{SOFTWARE}"' in record:
            yield task
        else:
            raise TableError(
                f"Row {task.row}, column output: {task.job.output} exists, and was not made by this program; expected "
                "a free name. Choose another one, or move the file away."
            )


def _record(film: Path) -> str:
    from ...film.marks import read_marks

    return read_marks(film).record


def _recovered(task: Task, name: str, key: str) -> Entry:
    """An entry for a film that was finished, though nobody noted how long it took."""
    from ...film.read import Film

    seconds, size = Film(task.job.output).facts.seconds, task.job.output.stat().st_size
    about = {"row": task.row, "file": name, "kind": task.job.kind, "seed": task.job.options["seed"]}
    return {**about, "state": DONE, "key": key, "read": read_of(task.job), "seconds": round(seconds, 3), "bytes": size}


def _worked_off(tasks: Sequence[Task], folder: Path, chosen: Namespace) -> Iterator[Entry]:
    """As they come. The longest begin first, so that none keeps all others waiting in the end."""
    if not tasks:
        return
    from ... import work
    from .rows import Work, carry_out, lost

    ordered = sorted(tasks, key=_length, reverse=True) if chosen.workers or chosen.ray else tasks
    jobs = [Work(task, folder) for task in ordered]
    if chosen.ray:
        yield from work.each_on_ray(carry_out, jobs, chosen.ray, lost, chosen.gpus, chosen.workers)
    else:
        yield from work.each(carry_out, jobs, chosen.workers, lost)


def _length(task: Task) -> int:
    """Of its sound, as the file's size tells."""
    return task.job.inputs["sound"].stat().st_size


def _write_page(tasks: Sequence[Task], folder: Path, manifest: Manifest, table: Path) -> None:
    from .page import page

    entries = [(task, manifest.last.get(file_name(task, folder))) for task in tasks]
    write_whole(folder / PAGE, page(entries, folder, table.name).encode())


def _concluded(tasks: Sequence[Task], earlier: int, folder: Path, manifest: Manifest, terminal: Terminal) -> int:
    last: Mapping[str, Entry] = manifest.last
    entries = [last.get(file_name(task, folder)) for task in tasks]
    states = Counter("missing" if entry is None else entry["state"] for entry in entries)
    failed = len(tasks) - states[DONE]
    errors = [
        {name: entry.get(name) for name in ("row", "file", "error")}
        for entry in entries
        if entry is not None and entry["state"] != DONE
    ]
    facts = {
        "rows": len(tasks),
        "done": states[DONE],
        "done_earlier": earlier,
        "failed": failed,
        "folder": str(folder),
        "manifest": str(folder / NAME),
        "page": str(folder / PAGE),
        "errors": errors,
    }
    words = f"{states[DONE]} of {len(tasks)} films are in {folder}, {failed} failed. Look at {folder / PAGE}."
    terminal.result(words, facts)
    return 1 if failed else 0
