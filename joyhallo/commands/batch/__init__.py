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

from ...files.scratch import write_whole
from ..crew import Crew
from ..jobs import Compute, Job
from ..options import TRACKING
from ..terminal import Terminal
from .manifest import ARRIVING, DONE, NAME, UNSCORED, Entry, Manifest, file_name
from .rows import Work, carry_out, finding_of, is_ours, lost, record_of, recovered
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
    works = [Work(task, folder) for task in tasks if not manifest.is_done(task, folder)]
    works = list(_not_recovered(works, manifest))
    earlier = len(tasks) - len(works)
    counts = {"rows": len(tasks), "done": earlier, "to_do": len(works)}
    if chosen.score:
        works = list(_with_scores(works, tasks, folder, manifest, _face(chosen, terminal)))
        counts["to_score"] = len(works)
    terminal.say(_counted(**counts))
    if chosen.check:
        terminal.result("The table is good.", counts)
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with redirect_stdout(sys.stderr):  # Ray prints there what died; the output is for the result alone
            _note(_worked_off(works, folder, crew, remote, terminal), len(works), manifest, terminal)
    finally:
        manifest.settle()
        _write_page(tasks, folder, manifest, chosen.table)
    return _concluded(tasks, earlier, folder, manifest, terminal)


def _counted(rows: int, done: int, to_do: int, to_score: int | None = None) -> str:
    scoring = "" if to_score is None else f", {to_score} to score"
    return f"{rows} row{'' if rows == 1 else 's'}: {done} done already, {to_do} to do{scoring}."


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
        elif UNSCORED in entry:
            terminal.say(f"row {entry['row']}, {entry['file']}, is done, but has no score: {entry[UNSCORED]}")
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


def _not_recovered(works: Sequence[Work], manifest: Manifest) -> Iterator[Work]:
    """Films that are there though the manifest lacks them: a label tells whether a killed run had just finished them.

    A file that nobody here made is never replaced.
    """
    for work in works:
        job = work.task.job
        if file_name(work.task, work.folder) in manifest.last or not os.path.exists(job.output):
            yield work
            continue
        record = record_of(job.output)
        key = manifest.key(job)
        if key[:32] in record:
            from ..unfinished import discard

            discard(job.output)
            manifest.add(recovered(work, key))
        elif is_ours(record):
            yield work
        else:
            raise TableError(
                f"Row {work.task.row}, column output: {job.output} exists, and was not made by this program; expected "
                "a free name. Choose another one, or move the file away."
            )


# ---- scores


def _face(chosen: Namespace, terminal: Terminal) -> Mapping[str, Any]:
    """How faces are found in films, where rows do not say it."""
    from ..provision import finders
    from ..shelf import Shelf

    usual = {option.name: option.default for option in TRACKING}
    return usual | finders(usual, Shelf.of(chosen.models), chosen.fetch, terminal.progress)


def _with_scores(
    works: Sequence[Work], tasks: Sequence[Task], folder: Path, manifest: Manifest, usual: Mapping[str, Any]
) -> Iterator[Work]:
    """All that is to be made, and films that are there and have no score."""
    waiting = {work.task.row for work in works}
    for task in tasks:
        made = None if task.row in waiting else manifest.last[file_name(task, folder)]
        if made is None or made.get("score") is None:
            yield Work(task, folder, made, finding_of(task.job, usual))


def _worked_off(
    works: Sequence[Work], folder: Path, crew: Crew, remote: Remote | None, terminal: Terminal
) -> Iterator[Entry]:
    """As they come. The longest begin first, so that none keeps all others waiting in the end."""
    if remote:
        longest_first = sorted((work for work in works if work.made is None), key=_length, reverse=True)
        if longest_first:
            yield from remote.entries(longest_first, folder, terminal.say)
        works = [work for work in works if work.made is not None]
    if works:
        yield from crew.each(carry_out, works if crew.is_alone else sorted(works, key=_length, reverse=True), lost)


def _length(work: Work) -> int:
    """Of its sound, as the file's size tells; of a workflow, of all that it is filled with."""
    inputs = work.task.job.inputs
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
        "scored": sum(entry is not None and entry.get("score") is not None for entry in entries),
        "folder": str(folder),
        "manifest": str(folder / NAME),
        "page": str(folder / PAGE),
        "errors": errors,
    }
    words = f"{states[DONE]} of {len(tasks)} films are in {folder}, {failed} failed. Look at {folder / PAGE}."
    terminal.result(words, facts)
    return 1 if failed else 0
