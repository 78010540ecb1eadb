"""What is told of a set: means over those that have a figure, and which measures say nothing beside a control."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from joyhallo.evaluation.examine import PANELS
from joyhallo.evaluation.records import Record, Records
from joyhallo.evaluation.report import as_results, clips_csv, terminal
from joyhallo.evaluation.summary import summarised
from joyhallo.measures.table import CHOICES, MEASURES, SHIFT


def records(values, control=None, name="sync_c", told="shuffled", frames=(100, 300, 100)):
    return [
        Record(
            f"{at}.mp4",
            str(at),
            {"frames": count},
            {} if value is None else {name: value},
            {} if control is None or value is None else {told: {name: control[at]}},
            {name: "nobody is seen in it"} if value is None else {},
            {name: count - 1},
        )
        for at, (value, count) in enumerate(zip(values, frames, strict=True))
    ]


def row(found, name="sync_c"):
    (only,) = summarised([MEASURES[name]], found, {})
    return only


def test_a_mean_is_over_those_that_have_the_figure_and_says_so():
    found = row(records([4.0, None, 5.0]))
    assert (found.value, found.count) == (4.5, "2 of 3")


def test_consistency_is_a_mean_over_frames_but_the_first_as_in_vbench():
    assert row(records([0.9, 0.5, 0.9], name="subject"), "subject").value == pytest.approx(
        (0.9 * 99 + 0.5 * 299 + 0.9 * 99) / 497
    )


@pytest.mark.parametrize(
    ("control", "silent"),
    [((0.5, 0.4, 0.6), False), ((4.0, 5.1, 6.2), True), ((3.8, 4.9, 5.8), True)],
)
def test_a_measure_says_nothing_where_its_control_does_as_well(control, silent):
    assert bool(row(records([4.0, 5.0, 6.0], control)).says_nothing) is silent


@pytest.mark.parametrize(("moved", "silent"), [(-SHIFT, False), (SHIFT, True), (0, True)])
def test_an_offset_must_follow_a_sound_that_is_moved(moved, silent):
    told = records([0.0, 1.0, -1.0], [moved, 1.0 + moved, -1.0 + moved], "sync_offset", "shifted")
    assert bool(row(told, "sync_offset").says_nothing) is silent


def test_what_cannot_be_computed_is_empty_and_told(tmp_path):
    some = records([4.0, None, 5.0])
    some[2].note("sync_d", float("nan"))
    rows = summarised([MEASURES["sync_c"], MEASURES["sync_d"]], some, {})
    assert clips_csv(rows, some).splitlines()[2] == "1.mp4,300,,,,"
    told = terminal(rows, some, {"sync_d": "not there: SyncNet"})
    assert "1.mp4: no Sync-C: nobody is seen in it" in told
    assert "2.mp4: no Sync-D: it cannot be computed of this clip" in told
    parsed = json.loads(as_results(rows, some, {}, {}))
    assert (parsed["schema"], parsed["measures"]["sync_d"]["value"]) == (1, None)


def test_a_journal_goes_on_after_a_line_that_was_torn_off(tmp_path):
    journal = Records(tmp_path)
    first, second = records([4.0, 5.0], frames=(1, 2))
    journal.add(first)
    with (tmp_path / "journal.jsonl").open("ab") as file:
        file.write(b'{"name": "torn')
    journal.add(second)
    assert list(journal.read().values()) == [first, second]


def test_every_choice_names_measures_that_there_are():
    assert {name for names in CHOICES.values() for name in names} == set(MEASURES)
    assert all(name.islower() for name in MEASURES)


def test_every_measure_is_taken_by_one_panel():
    taken = Counter(measure.name for panel in PANELS for measure in panel.measures)
    assert taken == dict.fromkeys(MEASURES, 1)
