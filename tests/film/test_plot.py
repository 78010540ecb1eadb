"""Where lines, grounds and gaps are drawn, told from the pixels; where they belong is calculated with numpy."""

import numpy as np
import pytest
import torch

from joyhallo.film.plot import COLORS, SHADE, Curve, plot, stacked

SIZE = (640, 240)


def drawn(picture: np.ndarray, color=COLORS[0]) -> np.ndarray:
    """Where something of a colour is, the legend aside."""
    found = (np.abs(picture.astype(int) - color) < 12).all(2)
    found[:25] = False
    return found


def middles(where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns in which something is, and its mean row in each."""
    columns = np.flatnonzero(where.any(0))
    return columns, np.array([np.flatnonzero(where[:, column]).mean() for column in columns])


def test_a_curve_runs_through_its_values():
    values = np.sin(np.linspace(0, 7, 500))
    columns, rows = middles(drawn(plot([Curve("", values)], seconds=20, size=SIZE, limits=(-1, 1))))
    found = np.interp(np.linspace(columns[0], columns[-1], 500), columns, rows)
    assert np.corrcoef(found, -values)[0, 1] > 0.999
    assert rows.max() - rows.min() == pytest.approx(240 - 2 * 16 - 2 * 13, abs=6)


def test_time_is_to_scale():
    """A step at three quarters of the time, and the ground shaded there."""
    values = np.repeat([0.0, 1.0], [300, 100])
    picture = plot([Curve("", values)], seconds=8, size=SIZE, shaded=[(6, 7), (9, 10)])
    columns, rows = middles(drawn(picture))
    low = columns[rows > 120]
    assert (low[-1] - columns[0]) / (columns[-1] - columns[0]) == pytest.approx(0.75, abs=0.01)
    shaded = np.flatnonzero((picture[100] == SHADE).all(1))
    assert (shaded[0] - columns[0]) / (columns[-1] - columns[0]) == pytest.approx(6 / 8, abs=0.01)
    assert len(shaded) / (columns[-1] - columns[0]) == pytest.approx(1 / 8, abs=0.01)


def test_time_may_begin_before_zero():
    """The same picture, moved: but for the words below."""
    values = np.sin(np.linspace(0, 7, 100))
    usual, moved = (plot([Curve("", values)], seconds=4, size=SIZE, shaded=[(start + 1, start + 2)], start=start)
                    for start in (0, -2))  # fmt: skip
    assert (usual[:200] == moved[:200]).all()
    assert (usual[210:] != moved[210:]).any()


def test_what_is_no_number_leaves_a_gap():
    values = np.ones(400)
    values[100:200] = np.nan
    values[200:250] = np.inf
    columns, _ = middles(drawn(plot([Curve("", values)], seconds=4, size=SIZE)))
    widest = np.diff(columns).max() / (columns[-1] - columns[0])
    assert widest == pytest.approx(150 / 400, abs=0.02)


def test_one_number_is_a_dot():
    assert 4 <= drawn(plot([Curve("", [3.0])], seconds=1, size=SIZE)).sum() <= 60


def test_values_beyond_the_limits_stay_in_the_picture():
    columns, rows = middles(drawn(plot([Curve("", [0.0, 50.0, -50.0])], seconds=3, size=SIZE, limits=(0, 1))))
    assert 25 < rows.min() < 35
    assert 200 < rows.max() < 215
    assert len(columns) > 300


def test_each_curve_has_its_colour():
    curves = [Curve(f"curve {i}", [i, i + 0.5]) for i in range(3)]
    picture = plot([*curves, Curve("mine", [3, 3], (1, 2, 3))], seconds=3, size=SIZE)
    for color in (*COLORS[:3], (1, 2, 3)):
        assert drawn(picture, color).any()


def test_a_wider_curve_is_wider():
    values = np.full(50, 0.5)
    none, thin, wide = (
        255 * 640.0 * 240 - plot([Curve("", v, width=w)], seconds=3, size=SIZE, limits=(0, 1))[..., 0].sum()
        for v, w in ((values * np.nan, 1), (values, 1), (values, 3))
    )
    assert (wide - none) / (thin - none) == pytest.approx(3, abs=0.6)


def test_an_area_reaches_from_its_values_to_the_bottom_and_leaves_gaps():
    values = np.repeat([0.5, np.nan, 1.0], 100)
    found = drawn(plot([Curve("", values, filled=True)], seconds=3, size=SIZE, limits=(0, 1)))
    columns = np.flatnonzero(found.any(0))
    heights = np.array([found[:, column].sum() for column in columns])
    assert heights.max() == pytest.approx(2 * np.median(heights[:50]), abs=8)
    assert np.diff(columns).max() / (columns[-1] - columns[0]) == pytest.approx(1 / 3, abs=0.02)


def test_a_long_legend_has_lines_of_its_own():
    """Every sample is whole, and above the curves, which make room."""
    curves = [Curve(f"a curve with a long name, number {i}", [1, 1]) for i in range(5)]
    picture = plot(curves, seconds=3, size=SIZE, title="A title", limits=(0, 1))
    rows, columns = np.nonzero((np.abs(picture.astype(int) - COLORS[4]) < 12).all(2))  # the last one, drawn on top
    curve = rows[np.bincount(rows)[rows] > 200]
    assert len(np.unique(columns[rows < curve.min()])) >= 14
    for color in COLORS[:4]:
        sample = (np.abs(picture[: curve.min()].astype(int) - color) < 12).all(2)
        assert sample.any(0).sum() >= 14
    alone = drawn(plot(curves[4:], seconds=3, size=SIZE, title="A title", limits=(0, 1)))
    assert np.nonzero(alone)[0].min() < curve.min() - 20


def test_lists_arrays_and_tensors_are_drawn_alike():
    values = [0.125, 0.75, 0.5]
    pictures = [plot([Curve("c", v)], seconds=1, size=SIZE) for v in (values, np.array(values), torch.tensor(values))]
    assert all(np.array_equal(pictures[0], other) for other in pictures[1:])


@pytest.mark.parametrize("values", [[], [float("nan")], [2.0] * 5, [0.0, 1e-30], [1e9, 1e9 + 1], [-3e-5, 8e-5]])
def test_any_values_can_be_drawn(values):
    assert plot([Curve("c", values)], seconds=5, size=SIZE).shape == (240, 640, 3)


@pytest.mark.parametrize("seconds", [0.04, 1, 99, 100, 3599, 3600, 40_000, 1e6])
def test_any_length_can_be_drawn(seconds):
    assert plot([Curve("c", [1, 2])], seconds=seconds).shape == (320, 768, 3)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_no_length_cannot(seconds):
    with pytest.raises(ValueError, match="give the length of the clip"):
        plot([Curve("c", [1, 2])], seconds=seconds)


def test_stacked():
    one, other = (plot([Curve("c", [1, 2])], seconds=1, size=(300, height)) for height in (100, 150))
    assert np.array_equal(stacked([one, other])[100:], other)
