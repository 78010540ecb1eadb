"""Any film, face, sound and wish: a result of the right length in which nothing but the face has changed."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from joyhallo.config import SAMPLE_RATE
from joyhallo.faces.blend import Blend, around_mouths, feathered, painted
from joyhallo.faces.track import Track
from joyhallo.film.lengths import in_order, places
from joyhallo.methods.redub import Wishes, placed, redub, repainted
from joyhallo.methods.script import script
from joyhallo.methods.wav2lip.method import Wav2Lip
from joyhallo.sound.audio import Recording

RATES = [Fraction(25), Fraction(30_000, 1001), Fraction(24_000, 1001), Fraction(60), Fraction(7, 2), Fraction(50)]


def inverted(heard: torch.Tensor, faces: torch.Tensor, strength: float) -> torch.Tensor:
    """In place of the network, whose answers are compared elsewhere."""
    assert heard.shape[1:] == (1, 80, 16)
    assert faces.shape[1] == 6
    return 1 - faces[:, 3:]


@st.composite
def films(draw):
    width, height, count = draw(st.integers(8, 70)), draw(st.integers(8, 70)), draw(st.integers(1, 9))
    seed = draw(st.integers(0, 2**16))
    random = np.random.default_rng(seed)
    corner = random.uniform(-30, 70, (count, 2))
    size = random.uniform(0, 90, (count, 2))
    boxes = np.concatenate([corner, corner + size], axis=1).astype(np.float32)
    boxes[random.random(count) < draw(st.sampled_from([0.0, 0.4]))] = np.nan
    cuts = tuple(sorted(draw(st.sets(st.integers(1, 8), max_size=2))))
    points = np.zeros((count, 0, 2), np.float32)
    track = Track(boxes, points, np.ones(count, np.float32), "none", (width, height), draw(st.sampled_from(RATES)),
                  tuple(cut for cut in cuts if cut < count))  # fmt: skip
    pictures = torch.from_numpy(random.integers(0, 256, (count, height, width, 3), dtype=np.uint8))
    return pictures, track


pads = st.tuples(*[st.integers(-40, 40)] * 4)
wishes = st.builds(
    Wishes,
    strength=st.floats(0, 2),
    sync_offset=st.floats(-1000, 1000),
    cover_tail=st.booleans(),
    smoothing=st.sampled_from(["original", "centred", "none"]),
    pads=pads,
)


@given(
    film=films(),
    wish=wishes,
    seconds=st.floats(0.02, 0.8),
    short=st.sampled_from(["loop", "bounce", "hold", "stretch", "stop"]),
    long=st.sampled_from(["cut", "keep"]),
    seam=st.sampled_from(["whole", "feather", "mouth", "mask"]),
    at_once=st.integers(1, 5),
)
@settings(max_examples=120, deadline=None)
def test_only_the_face_changes(film, wish, seconds, short, long, seam, at_once):
    pictures, track = film
    method = Wav2Lip(inverted, 96, at_once, wishes=wish)
    sound = Recording(
        torch.rand(max(1, round(seconds * SAMPLE_RATE)), generator=torch.Generator().manual_seed(1)) - 0.5
    )
    windows = method.listen(sound, track.rate)
    where = places(len(track), len(windows), short, long)
    used = track.until(int(where.max()) + 1)
    crops = method.crops(used)
    written = script(where, crops.usable, used.cuts, len(windows))
    mask = torch.zeros(track.size[::-1])
    mask[: track.size[1] // 2] = 0.7
    blend = {
        "whole": Blend(),
        "feather": Blend(feathered(0.1), True),
        "mouth": Blend(around_mouths(used), True),
        "mask": Blend(painted(mask)),
    }[seam]
    coming = in_order(lambda start: iter(pictures[start:]), where)
    chunks = redub(method, coming, crops, windows, written)
    made = torch.cat([placed(chunk, crops, written, blend) for chunk in chunks])
    assert made.dtype == torch.uint8
    assert made.shape == (len(where), *pictures.shape[1:])
    if short != "stop" and len(track) < len(windows):
        assert len(made) == len(windows)
    for number, picture in enumerate(made):
        told = repainted(crops, 96, written, number, blend, pictures.shape[1:3])
        changed = (picture != pictures[where[number]]).any(-1)
        assert not (changed & (told == 0)).any()
        if not written.spoken[number]:
            assert not changed.any()


@pytest.mark.parametrize("rate", RATES)
def test_a_covered_tail_lasts_as_long_as_the_sound(rate):
    for samples in (1, 399, 400, 2999, 3000, 16_000, 33_333):
        windows = Wav2Lip(inverted, 96, 4, wishes=Wishes(cover_tail=True)).listen(Recording(torch.zeros(samples)), rate)
        assert len(windows) == -(-samples * rate // SAMPLE_RATE)
