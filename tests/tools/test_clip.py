"""The films that the examples redub and measure."""

from __future__ import annotations

import av
import numpy as np
import pytest
from mesh import mesh

from joyhallo.film.read import Film
from joyhallo.sound.audio import prepare, read
from tools.pictures import clip

LIPS = (13, 14)  # of the mesh: the inner edges of the upper and the lower lip
NOSE = 1


@pytest.fixture(scope="module")
def frames():
    with av.open(str(clip.FOLDER / "clip.mp4")) as film:
        assert film.streams.video[0].average_rate == 25
        assert not film.streams.audio
        return [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]


def test_it_is_what_the_tool_makes(frames):
    made = np.concatenate([batch.numpy() for batch in clip.drawn(clip.moving(clip.FOLDER / "speech.wav"))])
    assert made.shape == (4 * 25, 512, 512, 3) == np.stack(frames).shape
    difference = np.abs(made.astype(np.int16) - np.stack(frames)).mean((1, 2, 3))
    assert difference.max() < 3, "run python -m tools.pictures.clip"


def test_a_second_one_says_the_sentence_with_its_sound_late():
    film, speech = Film(clip.FOLDER / "late.mp4"), clip.FOLDER / "speech.wav"
    seen, heard = np.stack(list(film.pictures())), prepare(*film.sound()).samples
    spoken = clip.lasting(prepare(*read(speech)))
    made = np.concatenate([batch.numpy() for batch in clip.drawn(clip.posed(spoken))])
    assert made.shape == seen.shape
    assert np.abs(made.astype(np.int16) - seen).mean((1, 2, 3)).max() < 3, "run python -m tools.pictures.clip"
    late = np.correlate(heard[:64_000].numpy(), spoken.samples[:48_000].numpy()).argmax()
    assert late == pytest.approx(4 * 640, abs=20)


@pytest.mark.parametrize("name", ["clip.mp4", "late.mp4"])
def test_it_is_small(name):
    assert (clip.FOLDER / name).stat().st_size < 250_000


def test_a_face_is_found_whose_head_and_mouth_move(frames):
    found = np.stack([mesh(frame) for frame in frames[::4]])
    assert np.ptp(found[:, NOSE], axis=0).min() > 12
    gaps = np.linalg.norm(found[:, LIPS[0]] - found[:, LIPS[1]], axis=1)
    assert gaps.min() < 4
    assert gaps.max() > 14
