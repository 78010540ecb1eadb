"""The clips of an evaluation and the files beside them."""

from __future__ import annotations

import pytest

from joyhallo.evaluation.clips import Beside, ClipsError, found


def laid(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_clips_are_found_with_what_belongs_to_them(tmp_path):
    films = laid(tmp_path / "films", "b.mp4", "王/a 1.MOV", ".hidden/c.mp4", "notes.txt")
    sounds = laid(tmp_path / "sounds", "B.wav", "a 1.flac", "a 1.mp4")
    portrait = laid(tmp_path, "me.png") / "me.png"
    clips = found([films], Beside(sound=sounds, portrait=portrait))
    assert [(clip.name, clip.heard.name, clip.portrait) for clip in clips] == [
        ("b.mp4", "B.wav", portrait),
        ("王/a 1.MOV", "a 1.flac", portrait),
    ]
    assert [clip.other for clip in clips] == [clips[1].sound, clips[0].sound]


def test_a_clip_alone_has_no_other_sound_than_its_own(tmp_path):
    (clip,) = found([laid(tmp_path, "a.mp4") / "a.mp4"])
    assert clip.other == clip.heard == clip.film


@pytest.mark.parametrize(
    ("truths", "told"),
    [
        ((), "1 files that belong to clips are missing.*truth for 'a'"),
        (("x/a.mp4", "y/a.mp4"), "several files named 'a'"),
    ],
)
def test_what_belongs_to_a_clip_must_be_there_once(tmp_path, truths, told):
    films = laid(tmp_path / "films", "a.mp4")
    (tmp_path / "truths").mkdir()
    with pytest.raises(ClipsError, match=f"(?s){told}"):
        found([films], Beside(truth=laid(tmp_path / "truths", *truths)))


@pytest.mark.parametrize("place", ["nowhere", "empty"])
def test_a_place_without_films_is_refused(tmp_path, place):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ClipsError, match=r"does not exist|holds no film"):
        found([tmp_path / place])
