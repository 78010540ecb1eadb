"""Track: where a face is, in a film and in those made from it."""

from fractions import Fraction

import numpy as np

from joyhallo.faces.track import Track


def test_it_goes_along_with_a_film_that_shows_its_frames_in_another_order():
    found = Track(
        np.arange(40, dtype=np.float32).reshape(10, 4),
        np.arange(20, dtype=np.float32).reshape(10, 1, 2),
        np.arange(10, dtype=np.float32),
        "none",
        (64, 64),
        Fraction(25),
        (4,),
    )
    looped = found.along(np.arange(14) % 10)
    assert looped.scores.tolist() == [*range(10), 0, 1, 2, 3]
    assert (looped.boxes == found.boxes[looped.scores.astype(int)]).all()
    assert (looped.points == found.points[looped.scores.astype(int)]).all()
    assert looped.cuts == (4, 10)
    assert found.along(np.array([2, 3, 4, 3, 2])).cuts == (2, 3)
    assert found.along(np.array([7, 8, 8, 9, 8, 7])).cuts == ()
