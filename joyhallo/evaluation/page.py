"""The report as one page that needs nothing else: tables, plots drawn here, small pictures inside."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

from ..measures.table import Measure
from . import published
from .records import Record
from .report import controls_of, remark, shown, troubles
from .summary import Row

WORST = 5  # clips that are shown at length
WIDTH, HEIGHT = 220, 22  # pixels of a row of dots
PLOT = (360, 120)
STYLE = Path(__file__).with_name("page.css")


def page(
    rows: Sequence[Row],
    records: Sequence[Record],
    why: Mapping[str, str],
    about: Mapping[str, str],
    strips: Mapping[str, Path],
) -> str:
    """about: lines of the head, by what they tell; strips: a picture of frames side by side, by the clip's name"""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>Evaluation of {len(records)} clips</title><style>{STYLE.read_text(encoding='utf-8')}</style>",
        f"<h1>Evaluation of {_counted(len(records), 'clip')}</h1>",
        *(f"<div class=faint>{escape(name)}: <code>{escape(text)}</code></div>" for name, text in about.items()),
        *_of_set(rows, records, why),
        *_published(rows),
        *_worst(rows, records, strips),
        *_of_clips(rows, records),
        *_troubles(records),
        *_glossary(rows),
    ]
    return "\n".join(parts) + "\n"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


# ---- the set


def _of_set(rows: Sequence[Row], records: Sequence[Record], why: Mapping[str, str]) -> Iterator[str]:
    yield "<h2>The set</h2><p>Means over clips, with the interval that 95 % of repetitions would lie in. A control is "
    yield "the same clip with its meaning taken away; a measure that a control passes as well is grey, and says "
    yield "nothing here.</p><table><tr><th>Measure<th class=number>Value<th>95 %<th>Clips<th>Each clip<th>Controls</tr>"
    for row in rows:
        told = remark(row, dict(why))
        note = f"<small>{escape(told)}</small>" if told else ""
        spread = "" if row.low is None else f"{row.low:{row.measure.form}} to {row.high:{row.measure.form}}"
        kind = " class=silent" if row.says_nothing or row.value is None else ""
        yield (
            f"<tr{kind}><td>{escape(row.measure.title)}{_arrow(row.measure)}{note}"
            f"<td class=number>{shown(row.measure, row.value)}<td class='faint count'>{spread}"
            f"<td class=count>{row.count}"
            f"<td>{_dots(row, records)}<td>{escape(controls_of(row))}</tr>"
        )
    yield "</table>"


def _arrow(measure: Measure) -> str:
    return {"higher": " ↑", "lower": " ↓", "zero": " →0", "truth": ""}[measure.better]


def _dots(row: Row, records: Sequence[Record]) -> str:
    """Each clip a dot, each control's mean a mark, all on one line."""
    name = row.measure.name
    values = [record.values[name] for record in records if name in record.values]
    if not values:
        return ""
    low, high = min([*values, *row.controls.values()]), max([*values, *row.controls.values()])
    wide = (high - low) or 1.0

    def at(value: float) -> float:
        return 6 + (value - low) / wide * (WIDTH - 12)

    dots = "".join(f"<circle cx={at(value):.1f} cy=11 r=4 fill=#0072b2 fill-opacity=.45 />" for value in values)
    marks = "".join(
        f"<path d='M{at(value):.1f} 3v16' stroke=#d55e00 stroke-width=2><title>{escape(control)}</title></path>"
        for control, value in row.controls.items()
    )
    return (
        f"<svg width={WIDTH} height={HEIGHT} role=img><path d='M4 11h{WIDTH - 8}' stroke=#e3e7ee />{marks}{dots}</svg>"
    )


def _published(rows: Sequence[Row]) -> Iterator[str]:
    known = [row for row in rows if published.of(row.measure.name)]
    if not known:
        return
    models = list(published.of(known[0].measure.name))
    yield "<h2>Beside what the paper reports</h2><p>JoyHallo's table, of its own clips, which are not public: other "
    yield "clips have other figures, and Sync-C grows with length. Its Sync-D is too large for SyncNet's least "
    yield "distance; it may be the median.</p><table><tr><th>"
    yield "".join(f"<th class=number>{escape(row.measure.title)}" for row in known)
    yield "<tr><td>this set" + "".join(f"<td class=number>{shown(row.measure, row.value)}" for row in known)
    for model in models:
        cells = (f"<td class=number>{published.of(row.measure.name)[model]:{row.measure.form}}" for row in known)
        yield f"<tr><td>{escape(model)}{''.join(cells)}"
    yield "</table>"


# ---- clips


def _leading(rows: Sequence[Row]) -> Row | None:
    """What clips are ranked by: the first measure with a direction that its controls let speak."""
    speaking = [row for row in rows if row.value is not None and not row.says_nothing]
    ranked = [row for row in speaking if row.measure.better in ("higher", "lower") and row.measure.over == "clips"]
    return next(iter(ranked), None)


def _worst(rows: Sequence[Row], records: Sequence[Record], strips: Mapping[str, Path]) -> Iterator[str]:
    row = _leading(rows)
    if row is None:
        return
    name, sign = row.measure.name, 1 if row.measure.better == "higher" else -1
    having = sorted((record for record in records if name in record.values), key=lambda one: sign * one.values[name])
    yield f"<h2>The weakest by {escape(row.measure.title)}</h2>"
    for record in having[:WORST]:
        value = shown(row.measure, record.values[name])
        yield f"<div class=clip><h3>{escape(record.name)} <span class=faint>{value}</span></h3>"
        if record.name in strips:
            picture = base64.b64encode(strips[record.name].read_bytes()).decode()
            yield f"<img class=strip alt='' src='data:image/jpeg;base64,{picture}'>"
        yield f"<div class=plots>{''.join(_plot(title, curve) for title, curve in record.curves.items())}</div></div>"


def _plot(title: str, curve: Sequence[float | None]) -> str:
    known = [value for value in curve if value is not None]
    if len(known) < 2:
        return ""
    wide, high = PLOT
    low, most = min(known), max(known)
    tall = (most - low) or 1.0
    points = " ".join(
        f"{at / (len(curve) - 1) * (wide - 8) + 4:.1f},{high - 6 - (value - low) / tall * (high - 12):.1f}"
        for at, value in enumerate(curve)
        if value is not None
    )
    return (
        f"<figure><svg width={wide} height={high} role=img><rect width={wide} height={high} fill=#f7f8fa rx=4 />"
        f"<polyline points='{points}' fill=none stroke=#0072b2 stroke-width=1.6 /></svg>"
        f"<figcaption>{escape(title)}: {low:.3g} to {most:.3g}</figcaption></figure>"
    )


def _of_clips(rows: Sequence[Row], records: Sequence[Record]) -> Iterator[str]:
    known = [row.measure for row in rows if row.value is not None and row.measure.over != "set"]
    yield "<h2>All clips</h2><div class=scroll><table><tr><th>Clip<th class=number>Frames"
    yield "".join(f"<th class=number>{escape(measure.title)}" for measure in known)
    for record in records:
        cells = "".join(
            f"<td class=number>{format(record.values[one.name], one.form) if one.name in record.values else '–'}"
            for one in known
        )
        yield f"<tr><td>{escape(record.name)}<td class=number>{record.facts.get('frames', '–')}{cells}"
    yield "</table></div>"


def _troubles(records: Sequence[Record]) -> Iterator[str]:
    told = troubles(records)
    if told:
        yield f"<h2>What was not measured</h2><ul>{''.join(f'<li>{escape(line)}' for line in told)}</ul>"


def _glossary(rows: Sequence[Row]) -> Iterator[str]:
    yield "<h2>What the measures tell</h2><table>"
    for row in rows:
        mine = (
            " <span class=faint>(this project's own; not to be compared with other figures)</span>"
            if row.measure.ours
            else ""
        )
        yield f"<tr><td>{escape(row.measure.title)}<td>{escape(row.measure.says)}{mine}</tr>"
    yield "</table>"
