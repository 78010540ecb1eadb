"""The summary of a batch as one page: what failed first, then a player, times and settings of every film."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from ..option import by_name
from ..terminal import lasting
from .manifest import DONE, UNSCORED, Entry
from .rows import thumbnail_of
from .table import OPTIONS, Task

SHOWN = 1000  # films with a thumbnail: a page of more would be too large to open
STYLE = Path(__file__).with_name("page.css")


def page(entries: Sequence[tuple[Task, Entry | None]], folder: Path, table: str) -> str:
    done = [entry for _, entry in entries if entry is not None and entry["state"] == DONE]
    seconds, took = (sum(entry.get(name, 0.0) for entry in done) for name in ("seconds", "took"))
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>{escape(table)}</title><style>{STYLE.read_text(encoding='utf-8')}</style>",
        f"<h1>{escape(table)}</h1><p>{len(done)} of {len(entries)} films, {lasting(seconds)} of film, made in "
        f"{lasting(took)} of work.</p>",
        *_failures(entries),
        "<h2>Films</h2><table><tr><th>Row<th>Film<th>Made of<th>Settings<th class=number>Length"
        "<th class=number>Took<th>Lip sync</tr>",
        *(_film(task, entry, folder, number < SHOWN) for number, (task, entry) in enumerate(entries)),
        "</table>",
    ]
    return "\n".join(parts) + "\n"


def _failures(entries: Sequence[tuple[Task, Entry | None]]) -> Iterator[str]:
    failed = [(task, entry) for task, entry in entries if entry is None or entry["state"] != DONE]
    if not failed:
        return
    yield f"<h2>{len(failed)} without a film</h2><table class=failed><tr><th>Row<th>Film<th>Why</tr>"
    for task, entry in failed:
        why = "it was not begun" if entry is None else str(entry.get("error", ""))
        yield f"<tr><td>{task.row}<td>{escape(task.name)}<td>{escape(why)}</tr>"
    yield "</table>"


def _film(task: Task, entry: Entry | None, folder: Path, with_picture: bool) -> str:
    made_of = "<br>".join(escape(path.name) for path in task.job.inputs.values())
    start = f"<tr><td>{task.row}<td>"
    if entry is None or entry["state"] != DONE:
        return f"{start}<span class=none>{escape(task.name)}</span><td>{made_of}<td>{_settings(task)}<td><td><td></tr>"
    link = quote(entry["file"])
    poster = _poster(thumbnail_of(folder, entry["key"])) if with_picture else ""
    player = f"<video controls preload=none width=160 src='{link}'{poster}></video>" if with_picture else ""
    took = lasting(entry["took"]) if "took" in entry else "unknown"
    notices = "".join(f"<small>{escape(notice)}</small>" for notice in entry.get("notices", ()))
    return (
        f"{start}{player}<a href='{link}'>{escape(entry['file'])}</a>{notices}<td>{made_of}<td>{_settings(task)}"
        f"<td class=number>{entry.get('seconds', 0.0):.2f} s<td class=number>{took}"
        f"<td>{_lips(entry)}</tr>"
    )


def _lips(entry: Entry) -> str:
    score = entry.get("score")
    if not score:
        return f"<small>{escape(entry.get(UNSCORED, ''))}</small>"
    offset = score["lip_offset"]
    apart = f"sound {abs(offset)} frame{'' if abs(offset) == 1 else 's'} {'early' if offset > 0 else 'late'}"
    doubt = f"<small>{escape(score['doubt'])}</small>" if "doubt" in score else ""
    return f"{score['lip_sync']:.2f}, {apart if offset else 'together'}{doubt}"


def _poster(path: Path) -> str:
    try:
        return f" poster='data:image/jpeg;base64,{base64.b64encode(path.read_bytes()).decode()}'"
    except OSError:
        return ""


def _settings(task: Task) -> str:
    """Those that are not the usual ones."""
    usual = by_name(OPTIONS.get(task.job.kind, ()))
    told = [
        f"{name} {value.name if isinstance(value, Path) else value}"
        for name, value in task.job.options.items()
        if name not in usual
        or (value != usual[name].default and not (isinstance(value, Path) and usual[name].group == "files"))
    ]
    return escape(", ".join(told))
