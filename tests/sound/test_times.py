"""Times as people write them."""

import pytest

from joyhallo.sound.times import pieces, plain, seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2.5", 2.5),
        (" .5 s", 0.5),
        ("3秒", 3),
        ("1:05", 65),
        ("01:01:05.5", 3665.5),
        ("2 : 00 : 00", 7200),
        ("", None),
        ("-1", None),
        ("1:", None),
        ("1:2:3:4", None),
        ("2.5 m", None),
    ],
)
def test_times_in_seconds_minutes_and_hours(text, expected):
    assert seconds(text) == expected


def test_pieces_of_either_keyboard():
    assert pieces(plain("１：０，２； 3\n4、5,, ")) == ["1:0", "2", "3", "4", "5"]
