"""A table of jobs, CSV or JSON lines, checked as a whole before anything is made of it.

Nothing here imports torch, so that a table of many thousand rows is checked within a second.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from ..jobs import INPUTS, OPTIONS, Compute, Job, Kind
from ..option import Option, OptionError, by_name
from ..options import FORMATS

TOLD = 20  # problems that are listed
LONGEST = 60  # letters of each part of a name that is made up
CELL = 1 << 20  # characters of a cell, at most
KNOWN: Mapping[Kind, Mapping[str, Option]] = {kind: by_name(options) for kind, options in OPTIONS.items()}
COLUMNS = {"output", *(name for names in INPUTS.values() for name in names), *(n for k in KNOWN.values() for n in k)}
ENDINGS = tuple(f".{ending}" for ending in FORMATS)


class TableError(ValueError):
    """What is wrong with a table: every problem with its row and column, and what to do."""


@dataclass(frozen=True)
class Row:
    number: int  # as a spreadsheet counts, the names being row 1; of JSON lines, the line
    values: Mapping[str, Any]  # by the names of columns; what is empty is left out


@dataclass(frozen=True)
class Task:
    row: int
    job: Job

    @property
    def name(self) -> str:
        """Of its film, in the folder of films."""
        return self.job.output.name


class Problems:
    def __init__(self, table: Path):
        self.table, self.found = table, list[str]()

    def add(self, row: int, column: str, words: str) -> None:
        self.found.append(f"row {row}, column {column}: {words}")

    def raise_if_any(self) -> None:
        if self.found:
            count = len(self.found)
            more = [f"... and {count - TOLD} more"] if count > TOLD else []
            head = f"{self.table} has {count} problem{'' if count == 1 else 's'}; nothing was begun:"
            raise TableError("\n".join([head, *(f"- {line}" for line in self.found[:TOLD]), *more]))


@dataclass(frozen=True)
class Columns:
    """The names that a table may have."""

    clean: Callable[[Any], str]  # a name as people write it -> as it is known
    problem: Callable[[str], str]  # what is wrong with a name; nothing if it is good


# ---- the file


def read_table(path: Path, encoding: str = "utf-8", columns: Columns | None = None) -> list[Row]:
    """columns: other ones than the options of talk and redub"""
    if not path.is_file():
        raise TableError(f"The table {path} does not exist, or is a folder; expected a .csv or .jsonl file.")
    text = _decoded(path, encoding)
    if not text.strip():
        raise TableError(f"The table {path} is empty; expected a line of names, and a line for each film.")
    start = text.lstrip()[0]
    known = columns or Columns(_column, lambda name: "" if name in COLUMNS else _unknown(name, "talk"))
    rows = list((_json_rows if start in "{[" else _csv_rows)(path, text, known))
    if not rows:
        raise TableError(f"The table {path} has names of columns, but no row; add a line for each film.")
    return rows


def _decoded(path: Path, encoding: str) -> str:
    content = path.read_bytes()
    wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")  # as Excel's "Unicode text"
    try:
        return content.decode("utf-16" if wide else encoding).removeprefix("\ufeff").replace("\0", "\ufffd")
    except LookupError:
        raise TableError(f"--encoding {encoding} is unknown; expected utf-8, gbk, big5, cp1252 or the like.") from None
    except UnicodeDecodeError as error:
        raise TableError(_misread(path, content, error)) from error


def _misread(path: Path, content: bytes, error: UnicodeDecodeError) -> str:
    lines = content.split(b"\n")
    row = content.count(b"\n", 0, error.start) + 1
    before = content[content.rfind(b"\n", 0, error.start) + 1 : error.start]
    names = lines[0].decode("latin-1").lstrip("ï»¿").strip().split(",")
    column = names[min(before.count(b","), len(names) - 1)] if row > 1 and len(names) > 1 else "names"
    remedy = "save it as UTF-8 (in Excel: CSV UTF-8)"
    for guess in ("gb18030", "cp1252"):
        try:
            read = lines[row - 1].decode(guess).strip()
        except UnicodeDecodeError:
            continue
        name = "gbk" if guess == "gb18030" else guess
        remedy += f", or give --encoding {name} if this is right: {read!r:.80}"
        break
    return f"{path}, row {row}, column {column}: found bytes that are not {error.encoding.upper()}; {remedy}."


def _csv_rows(path: Path, text: str, columns: Columns) -> Iterator[Row]:
    head = text.lstrip("\r\n").split("\n", 1)[0]
    delimiter = max(",;\t", key=head.count)
    csv.field_size_limit(CELL)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    names: list[str] = []
    try:
        for number, cells in enumerate(reader, 1):
            if not any(cell.strip() for cell in cells):
                continue
            if not names:
                names = [columns.clean(cell) for cell in cells]
                _check_names(path, names, number, columns)
                continue
            if len(cells) > len(names) and any(cell.strip() for cell in cells[len(names) :]):
                raise TableError(
                    f"{path}, row {number}, column {len(names) + 1}: found {len(cells)} cells, expected {len(names)}, "
                    f"as there are names; put a cell in quotes that holds a {delimiter!r}."
                )
            pairs = zip(names, cells, strict=False)
            yield Row(number, {name: cell.strip() for name, cell in pairs if name and cell.strip()})
    except csv.Error as error:
        raise TableError(f"{path}, line {reader.line_num}: this is no CSV ({error}); check its quotes.") from error


def _json_rows(path: Path, text: str, columns: Columns) -> Iterator[Row]:
    _check_no_workflow(path, text)
    problems = Problems(path)
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            problems.add(number, "-", f"found no JSON ({error}), expected an object such as {EXAMPLE}")
            continue
        if not isinstance(found, dict):
            problems.add(number, "-", f"found a {type(found).__name__}, expected an object such as {EXAMPLE}")
            continue
        named = {columns.clean(name): value for name, value in found.items()}
        yield Row(number, {name: value for name, value in named.items() if value not in ("", None)})
    problems.raise_if_any()


EXAMPLE = '{"picture": "a.png", "sound": "a.wav"}'


def _check_no_workflow(path: Path, text: str) -> None:
    if not re.search(r'"(nodes|links|class_type)"\s*:', text):
        return
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        return
    if not isinstance(whole, dict):
        return
    if "nodes" in whole and "links" in whole:
        raise TableError(
            f"{path} is a ComfyUI workflow in the format of its page (nodes and links), expected a table: a .csv or "
            ".jsonl file with a row for each film. A workflow is run in ComfyUI; its rows are given here."
        )
    if any(isinstance(node, dict) and "class_type" in node for node in whole.values()):
        raise TableError(
            f"{path} is a ComfyUI workflow in the API format, expected a table: a .csv or .jsonl file with a row for "
            "each film."
        )


def _column(name: Any) -> str:
    return str(name).strip().strip("\ufeff").replace("-", "_").lower()


def _check_names(path: Path, names: Sequence[str], row: int, columns: Columns) -> None:
    problems = Problems(path)
    for place, name in enumerate(names, 1):
        if name and names.index(name) < place - 1:
            problems.add(row, name, f"found twice, as columns {names.index(name) + 1} and {place}; expected it once")
        elif name and (words := columns.problem(name)):
            problems.add(row, name, words)
    problems.raise_if_any()


# ---- the jobs


def tasks_of(
    table: Path, rows: Iterable[Row], folder: Path, defaults: Mapping[str, Any], compute: Compute
) -> list[Task]:
    """A task for each row; or a TableError that lists what is wrong. defaults: for rows that lack a value"""
    base = table.absolute().parent
    return collected(table, rows, lambda row, problems: _job(row, base, folder, defaults, compute, problems))


def collected(table: Path, rows: Iterable[Row], job_of: Callable[[Row, Problems], Job | None]) -> list[Task]:
    """A task for each row. job_of: the job of a row, with what is wrong with it added to the problems"""
    problems, tasks = Problems(table), list[Task]()
    taken = dict[str, int]()
    for row in rows:
        before = len(problems.found)
        job = job_of(row, problems)
        if job is None or len(problems.found) > before:
            continue
        name = unicodedata.normalize("NFC", str(job.output)).casefold()
        if name in taken:
            problems.add(
                row.number,
                "output",
                f"found {job.output.name}, the film of row {taken[name]}; expected another name for each, and no row "
                "twice",
            )
        taken.setdefault(name, row.number)
        tasks.append(Task(row.number, job))
    problems.raise_if_any()
    return tasks


def _job(
    row: Row, base: Path, folder: Path, defaults: Mapping[str, Any], compute: Compute, problems: Problems
) -> Job | None:
    kind = _kind(row, problems)
    if kind is None:
        return None
    named = {**{name: value for name, value in defaults.items() if _fits(name, kind)}, **row.values}
    options = {name: option.default for name, option in KNOWN[kind].items()}
    inputs = dict[str, Path]()
    for name, value in named.items():
        own = name in row.values
        where = base if own else Path()
        if name in INPUTS[kind]:
            path = _path(row, name, str(value), where, problems)
            inputs[name] = path
        elif name in KNOWN[kind]:
            options[name] = _option(row, KNOWN[kind][name], value, where, problems)
        elif name != "output":
            problems.add(row.number, name, _unknown(name, kind))
    for name in INPUTS[kind]:
        if name not in inputs:
            remedy = ", or give --set model=FILE for all" if name == "model" else ""
            problems.add(row.number, name, f"found nothing, expected a file{remedy}")
            return None

    def otherwise() -> str:
        return made_up([inputs[name] for name in INPUTS[kind][:2]], [kind, inputs, options])

    return Job(kind, inputs, options, film_of(row, otherwise, ENDINGS[0], folder, problems), compute, "", True)


def _kind(row: Row, problems: Problems) -> Kind | None:
    picture, video = "picture" in row.values, "video" in row.values
    if picture and video:
        problems.add(row.number, "video", "found a picture, too; expected one of both: a picture talks, a video is "
                     "redubbed")  # fmt: skip
        return None
    if not picture and not video:
        unknown = [name for name in row.values if name not in COLUMNS]
        hint = f"; {', '.join(unknown)} is unknown" if unknown else ""
        problems.add(row.number, "picture", f"found neither a picture nor a video, expected one of both{hint}")
        return None
    return "talk" if picture else "redub"


def _fits(name: str, kind: Kind) -> bool:
    return name in INPUTS[kind] or name in KNOWN[kind]


def _unknown(name: str, kind: Kind) -> str:
    other = next((each for each in KNOWN if each != kind and _fits(name, each)), None)
    if other:
        return f"found an option of {other}, but this row has a {INPUTS[kind][0]}, so it is a {kind}; leave it empty"
    close = max(sorted(COLUMNS), key=lambda known: alike(name, known))
    return f"found an unknown column; did you mean {close}? --help of talk and redub lists the options"


def alike(one: str, other: str) -> float:
    from difflib import SequenceMatcher

    return SequenceMatcher(None, one, other).ratio()


def _option(row: Row, option: Option, value: Any, base: Path, problems: Problems) -> Any:
    try:
        found = option.read(value)
    except OptionError as error:
        problems.add(row.number, option.name, str(error))
        return option.default
    if isinstance(found, Path):
        return _path(row, option.name, str(value), base, problems, option.folder)
    return found


def path_of(text: str, base: Path) -> Path | None:
    """Of a file that is there."""
    try:
        path, what = _found(base, text.strip())
    except (OSError, ValueError, RuntimeError):
        return None
    return path if text.strip() and what == "file" else None


def _path(row: Row, name: str, text: str, base: Path, problems: Problems, folder: bool = False) -> Path:
    try:
        path, what = _found(base, text.strip())
    except (OSError, ValueError, RuntimeError):
        problems.add(row.number, name, f"found {text!r:.80}, expected the path of a file")
        return Path()
    if what == "file" or (folder and what == "folder"):
        return path
    if name == "model" and what == "nothing":  # it may be the name of a published one
        return Path(text.strip())
    found = "a folder" if what == "folder" else "no such file"
    problems.add(row.number, name, f"found {found} at {path}; expected a file, its path seen from the table's folder")
    return path


@lru_cache(maxsize=1 << 17)  # tables name the same files again and again
def _found(base: Path, text: str) -> tuple[Path, str]:
    whole = os.path.normpath(os.path.join(base, os.path.expanduser(text)))
    return Path(whole), "file" if os.path.isfile(whole) else "folder" if os.path.isdir(whole) else "nothing"


# ---- names of films


def film_of(row: Row, otherwise: Callable[[], str], ending: str, folder: Path, problems: Problems) -> Path:
    """As the row says. otherwise: a stem for rows that do not; ending: for names without one"""
    text = str(row.values.get("output", "")).strip().replace("\\", "/")
    if not text:
        return folder / f"{otherwise()}{ending}"
    parts = PurePosixPath(text)
    if parts.is_absolute() or ".." in parts.parts or ":" in text or "\0" in text or parts.name.startswith("."):
        problems.add(row.number, "output", f"found {text!r:.80}, expected the name of a file within {folder}")
    elif parts.suffix and parts.suffix.lower() not in ENDINGS:
        problems.add(row.number, "output", f"found the ending {parts.suffix}, expected one of {', '.join(ENDINGS)}")
    elif max(len(part.encode()) for part in parts.parts) > 200:
        problems.add(
            row.number, "output", "found a name of more than 200 bytes, which not every disk takes; shorten it"
        )
    return folder / (text if parts.suffix else f"{text}{ending}")


def made_up(files: Iterable[Path], says: Any) -> str:
    """Stems for people, and a digest of all that the row says, so that rows that differ have names that do."""
    digest = hashlib.sha256(json.dumps(says, sort_keys=True, default=str).encode()).hexdigest()[:8]
    stems = [re.sub(r'[\x00-\x1f<>:"/\\|?*]', "_", path.stem)[:LONGEST] for path in files][:2]
    return f"{'_'.join(stems)}-{digest}" if stems else f"film-{digest}"


def defaults_of(pairs: Sequence[str]) -> dict[str, Any]:
    """Of --set NAME=VALUE."""
    found = dict[str, Any]()
    for pair in pairs:
        name, sign, value = pair.partition("=")
        name = _column(name)
        if not sign or name not in COLUMNS or name in ("output", "picture", "video"):
            raise TableError(f"--set {pair}: expected NAME=VALUE with an option of talk or redub, as --set seed=7.")
        found[name] = value
    return found
