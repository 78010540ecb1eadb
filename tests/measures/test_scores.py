"""Scores of videos: which values say nothing, which belong together, and how they are set side by side."""

from __future__ import annotations

import csv
import io
import json
import math

import numpy as np
import pytest

from joyhallo.measures.compared import BEST, FAINT, as_csv, as_json, best, drawn, names_of
from joyhallo.measures.scores import Scores, columns
from joyhallo.measures.table import MEASURES


def lips(film="a", confidence=0.5, shuffled=0.1, offset=2.0, moved=-3.0, **more):
    controls = {"shuffled": {"lip_sync": shuffled}, "shifted": {"lip_offset": moved}}
    return Scores(film, values={"lip_sync": confidence, "lip_offset": offset}, controls=controls, **more)


# ---- controls


@pytest.mark.parametrize(("shuffled", "silent"), [(0.1, False), (0.48, True), (0.6, True)])
def test_a_value_that_a_control_has_too_says_nothing(shuffled, silent):
    assert bool(lips(shuffled=shuffled).silent("lip_sync")) == silent


def test_less_is_better_of_distances():
    near = Scores("a", values={"sync_d": 7.0}, controls={"shuffled": {"sync_d": 11.0}})
    far = Scores("a", values={"sync_d": 11.0}, controls={"shuffled": {"sync_d": 11.2}})
    assert not near.silent("sync_d")
    assert "shuffled" in far.silent("sync_d")


@pytest.mark.parametrize(("moved", "silent"), [(-3.0, False), (-4.0, False), (2.0, True), (7.0, True)])
def test_an_offset_must_follow_a_sound_that_is_moved(moved, silent):
    assert bool(lips(moved=moved).silent("lip_offset")) == silent


def test_an_offset_says_nothing_of_lips_that_do_not_fit():
    assert "do not fit" in lips(shuffled=0.5).silent("lip_offset")
    assert not lips().silent("lip_offset")
    assert not Scores("a", values={"lip_offset": 1.0}).silent("lip_offset")


def test_a_control_that_does_not_belong_to_a_measure_is_not_asked():
    one = Scores("a", values={"lip_offset": 2.0}, controls={"shuffled": {"lip_offset": 2.0}})
    assert not one.silent("lip_offset")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_a_number_is_missing(value):
    one = Scores("a", values={"psnr": value, "ssim": 0.5})
    assert one.values == {"ssim": 0.5}
    assert set(one.missing) == {"psnr"}
    assert one.names == ["psnr", "ssim"]


# ---- columns


def test_scores_of_one_video_come_together():
    steady = Scores("a", "clip", {"flicker": 0.9}, missing={"subject": "no file"}, notes=("said",))
    (both,) = columns([lips(), steady])
    assert both.values == {**lips().values, "flicker": 0.9}
    assert both.controls == lips().controls
    assert (both.name, both.missing, both.notes) == ("clip", {"subject": "no file"}, ("said",))


def test_another_sound_of_one_video_has_a_column_of_its_own():
    assert [one.values["lip_sync"] for one in columns([lips(), lips(confidence=0.2)])] == [0.5, 0.2]


def test_videos_are_named_as_given_or_by_their_files_or_by_numbers():
    four = [lips("a", name="x"), lips("b", name="y"), lips("c"), lips("d", name="y")]
    assert [one.name for one in columns(four)] == ["x", "Video 2", "Video 3", "Video 4"]
    assert [one.name for one in columns(four, ["first", "", "third"])] == ["first", "Video 2", "third", "Video 4"]


# ---- which is best


def test_the_best_says_something():
    sync = MEASURES["lip_sync"]
    assert best(sync, [lips(confidence=0.5), lips(confidence=0.7), lips(confidence=0.9, shuffled=0.9)]) == {1}


def test_of_what_looks_equal_none_is_best():
    assert best(MEASURES["lip_sync"], [lips(confidence=0.5001), lips(confidence=0.5002)]) == set()
    three = [lips(confidence=0.5001), lips(confidence=0.5002), lips(confidence=0.3)]
    assert best(MEASURES["lip_sync"], three) == {0, 1}


@pytest.mark.parametrize(("name", "values", "expected"), [
    ("lmd", (0.1, 0.2), {0}), ("psnr", (30.0, 20.0), {0}), ("lip_offset", (-3.0, 1.0), {1}),
    ("lip_dynamics", (1.0, 2.0), set()),
])  # fmt: skip
def test_what_is_best_depends_on_the_measure(name, values, expected):
    assert best(MEASURES[name], [Scores("a", values={name: value}) for value in values]) == expected


# ---- files


TWO = columns([lips("a", name="one"), lips("b", confidence=0.2, shuffled=0.2, name="two"),
               Scores("b", values={"flicker": 0.25}, missing={"subject": "put a file"})])  # fmt: skip


def test_json_holds_all():
    told = json.loads(as_json(TWO))
    assert told["schema"] == 1
    assert list(told["measures"]) == ["lip_sync", "lip_offset", "subject", "flicker"]
    assert told["measures"]["lip_sync"]["best"] == ["one"]
    first, second = told["videos"]
    assert first["values"] == {"lip_sync": 0.5, "lip_offset": 2.0}
    assert list(second["says_nothing"]) == ["lip_sync", "lip_offset"]
    assert second["missing"] == {"subject": "put a file"}
    assert second["controls"]["shuffled"] == {"lip_sync": 0.2}


def test_csv_has_a_line_for_each_video_and_nothing_for_what_is_missing():
    head, first, second = csv.reader(io.StringIO(as_csv(TWO)))
    assert head == ["video", "lip_sync", "lip_offset", "subject", "flicker", "says_nothing"]
    assert first == ["one", "0.5", "2.0", "", "", ""]
    assert second == ["two", "0.2", "2.0", "", "0.25", "lip_sync lip_offset"]


def test_names_are_in_the_order_of_the_table():
    assert names_of(TWO) == [name for name in MEASURES if name in ("lip_sync", "lip_offset", "subject", "flicker")]


# ---- the picture


def has(picture, color):
    return bool((np.abs(picture.astype(int) - color).sum(2) < 3).any())


def test_the_best_is_blue_and_what_says_nothing_is_faint():
    assert has(drawn(TWO), BEST)
    alone = drawn(columns([lips()]))
    assert not has(alone, BEST)
    quiet, loud = (drawn(columns([lips(shuffled=shuffled)])) for shuffled in (0.5, 0.1))
    assert (np.abs(quiet.astype(int) - FAINT).sum(2) < 3).sum() > (np.abs(loud.astype(int) - FAINT).sum(2) < 3).sum()


def test_a_table_grows_with_its_rows_columns_and_notes():
    small = drawn(columns([Scores("a", values={"flicker": 1.0})]))
    assert drawn(columns([lips()])).shape[0] > small.shape[0]
    many = [Scores(f"{number}", "a rather long name of a video", {"flicker": 1.0}) for number in range(6)]
    assert drawn(columns(many, [f"a rather long name {number}" for number in range(6)])).shape[1] > small.shape[1]
    told = columns([Scores("a", values={"flicker": 1.0}, notes=("To be known. " * 30,))])
    assert drawn(told).shape[0] > small.shape[0]
    assert small.shape[1] == 768


def test_a_name_in_any_script_is_drawn():
    assert drawn(columns([lips(name="视频一")])).shape == drawn(columns([lips(name="one")])).shape


def test_nothing_but_missing_values_is_a_table_too():
    assert drawn(columns([Scores("a", missing={"subject": "put a file"})])).ndim == 3
