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
from typing import TYPE_CHECKING, Any

from ... import SOFTWARE
from ...files.scratch import write_whole
from ..crew import Crew
from ..jobs import Compute, Job
from ..terminal import Terminal
from .manifest import ARRIVING, DONE, NAME, Entry, Manifest, file_name, read_of
from .table import TableError, Task, defaults_of, read_table, tasks_of

if TYPE_CHECKING:
    from .remote import Remote

PAGE = "index.html"
MODELS = ("model", "landmarker", "face_models", "vae", "whisper", "hubert", "parser", "detector", "box", "mask",
          "lip_mask", "face_mask", "audio_encoder", "separator", "identity", "separate_vocals")  # fmt: skip


def run(chosen: Namespace, terminal: Terminal) -> int:
    crew = Crew(chosen.workers, chosen.ray, chosen.gpus)
    folder = chosen.output.absolute()
    if folder.exists() and not folder.is_dir():
        raise TableError(f"The output {chosen.output} is a file; expected a folder for the films.")
    remote = _remote(chosen, terminal)
    tasks = _tasks(chosen, folder, remote, terminal)
    manifest = Manifest.of(folder)
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
            _note(_worked_off(waiting, folder, crew, remote, terminal), len(waiting), manifest, terminal)
    finally:
        _write_page(tasks, folder, manifest, chosen.table)
    return _concluded(tasks, earlier, folder, manifest, terminal)


def _note(entries: Iterable[Entry], count: int, manifest: Manifest, terminal: Terminal) -> None:
    done = 0
    for entry in entries:
        manifest.add(entry)
        terminal.begun = True
        if entry["state"] == ARRIVING:
            continue
        done += 1
        if entry["state"] != DONE:
            terminal.say(f"row {entry['row']}, {entry['file']}: {entry['error']}")
        terminal.progress("Batch", done, count, "rows")


def _remote(chosen: Namespace, terminal: Terminal) -> Remote | None:
    if not chosen.servers:
        if chosen.workflow or chosen.take:
            raise TableError("--workflow and --take were given without --servers; a workflow runs on ComfyUI servers.")
        return None
    if chosen.workers or chosen.ray or chosen.device != "auto":
        raise TableError("--servers was given with --workers, --ray or --device; expected --servers alone: servers "
                         "choose where they compute.")  # fmt: skip
    if chosen.take and not chosen.workflow:
        raise TableError("--take was given without --workflow; it names the node of a workflow whose film is taken.")
    from .remote import Remote

    return Remote.of(chosen, terminal.say)


def _tasks(chosen: Namespace, folder: Path, remote: Remote | None, terminal: Terminal) -> list[Task]:
    if remote and chosen.workflow:
        return remote.filled(chosen, folder)
    rows, compute = read_table(chosen.table, chosen.encoding), Compute(chosen.device, chosen.weight_dtype)
    tasks = tasks_of(chosen.table, rows, folder, defaults_of(chosen.set), compute)
    if remote:
        remote.check(chosen.table, tasks)
    tasks = _provided(tasks, chosen, terminal)
    if remote:
        remote.check_models(tasks)
    return tasks


def _provided(tasks: Sequence[Task], chosen: Namespace, terminal: Terminal) -> list[Task]:
    """With the files of their models, which few rows have of their own."""
    from ...files.contents import WeightsError
    from ..provision import provided
    from ..shelf import MissingError, Shelf

    shelf, known, found = Shelf.of(chosen.models), dict[tuple[Any, ...], Job](), list[Task]()
    for task in tasks:
        job = task.job
        named = (job.kind, job.inputs.get("model"), *map(job.options.get, MODELS))
        if named not in known:
            try:
                known[named] = provided(job, shelf, chosen.fetch, terminal.progress)
            except (MissingError, WeightsError) as error:
                raise TableError(f"{chosen.table}, row {task.row}, column model: {error}") from error
        first = known[named]
        files = {name: value for name, value in first.options.items() if name in MODELS}
        inputs = {name: first.inputs[name] if name == "model" else path for name, path in job.inputs.items()}
        options = {**job.options, **files}
        found.append(replace(task, job=replace(job, inputs=inputs, options=options, resuming=chosen.resume)))
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
            from ..unfinished import discard

            discard(task.job.output)
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
    about = {"row": task.row, "file": name, "kind": task.job.kind, "seed": task.job.seed}
    return {**about, "state": DONE, "key": key, "read": read_of(task.job), "seconds": round(seconds, 3), "bytes": size}


def _worked_off(
    tasks: Sequence[Task], folder: Path, crew: Crew, remote: Remote | None, terminal: Terminal
) -> Iterator[Entry]:
    """As they come. The longest begin first, so that none keeps all others waiting in the end."""
    if not tasks:
        return
    if remote:
        yield from remote.entries(sorted(tasks, key=_length, reverse=True), folder, terminal.say)
        return
    from .rows import Work, carry_out, lost

    ordered = tasks if crew.is_alone else sorted(tasks, key=_length, reverse=True)
    yield from crew.each(carry_out, [Work(task, folder) for task in ordered], lost)


def _length(task: Task) -> int:
    """Of its sound, as the file's size tells; of a workflow, of all that it is filled with."""
    inputs = task.job.inputs
    files = [inputs["sound"]] if "sound" in inputs else inputs.values()
    return sum(path.stat().st_size for path in files)


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
