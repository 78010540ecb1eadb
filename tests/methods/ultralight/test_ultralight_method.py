"""Ultralight-Digital-Human behind the seam: what is pasted, what is heard, and what each wish changes."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import people
import pytest
import torch
from small import small_hubert
from torch.nn import functional as F
from upright_face import SIZE, track

from joyhallo.config import SAMPLE_RATE
from joyhallo.faces.blend import Blend
from joyhallo.methods import METHODS
from joyhallo.methods.redub import Engine, RedubError, Wishes, placed, redub, repainted
from joyhallo.methods.script import script
from joyhallo.methods.ultralight.boxes import boxes_of
from joyhallo.methods.ultralight.method import KNOWN, boxed, redubber
from joyhallo.methods.ultralight.network import Generator
from joyhallo.sound.audio import Recording

RATES = [Fraction(25), Fraction(30), Fraction(30_000, 1001), Fraction(24_000, 1001), Fraction(60), Fraction(12)]
METHOD = next(method for method in METHODS if method.name == "Ultralight")
COUNT = 10


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """As it comes from a file."""
    path = tmp_path_factory.mktemp("person") / "person.pth"
    torch.save(people.drawn(), path)
    return METHOD.open(path).build()


@pytest.fixture(scope="module")
def engine(network):
    return Engine(network, parts={"hubert": small_hubert()})


@pytest.fixture(scope="module")
def pictures():
    small = torch.rand(COUNT, 3, 12, 10, generator=torch.Generator().manual_seed(1))
    return (F.interpolate(small, SIZE[::-1], mode="bicubic").clamp(0, 1) * 255).byte().permute(0, 2, 3, 1).contiguous()


def recording(seconds=COUNT / 25, seed=0) -> Recording:
    return Recording(torch.randn(round(seconds * SAMPLE_RATE), generator=torch.Generator().manual_seed(seed)) * 0.1)


def made(method, pictures, seen, sound=None):
    heard = method.listen(sound or recording(), seen.rate)
    shown = np.arange(len(heard)).clip(max=len(pictures) - 1)
    crops = method.crops(seen)
    written = script(shown, crops.usable, seen.cuts, len(heard))
    chunks = redub(method, (pictures[place] for place in shown), crops, heard, written)
    return torch.cat([placed(chunk, crops, written, Blend()) for chunk in chunks])


def shaken(**more):
    seen = track(count=COUNT, **more)
    seen.points[::2, :, 0] += 6
    return seen


# ---- what is pasted


@pytest.mark.parametrize("scheme", ["mesh", "marks", "none"])
def test_a_face_that_did_not_change_changes_nothing(pictures, scheme):
    """But for what enlarging and shrinking lose."""
    seen = track(scheme, 1)
    faces = boxed(boxes_of(seen))
    patch = faces.patch(faces.cut(pictures[:1], [0])[0], 0)
    assert patch is not None
    rows, columns = patch.box.slices
    assert (patch.pixels.int() - pictures[0, rows, columns].int()).abs().max() <= 3


def test_nothing_but_the_square_of_the_person_changes(engine, pictures):
    method, seen = redubber(engine, 4, Wishes()), shaken()
    found = made(method, pictures, seen)
    assert found.shape == pictures.shape
    assert found.dtype == torch.uint8
    written = script(np.arange(COUNT), np.ones(COUNT, bool), (), COUNT)
    for number in range(COUNT):
        shown = repainted(method.crops(seen), method.size, written, number, Blend(), SIZE[::-1])
        changed = (found[number] != pictures[number]).any(-1)
        assert not changed[shown == 0].any()
        left, top, right, bottom = method.crops(seen).boxes[number].tolist()
        side = right - left
        mouth = changed[top + side // 16 : bottom - side // 8, left + side // 16 : right - side // 16]
        assert mouth.float().mean() > 0.9


def test_the_rim_is_as_it_was(engine, pictures):
    method = redubber(engine, 4, Wishes())
    crops = method.crops(track(count=2)).cut(pictures[:2], [0, 1])
    spoken = method.speak(crops, method.listen(recording(), Fraction(25))[[0, 1]], lambda *_: None)
    rim = torch.ones(168, 168, dtype=torch.bool)
    rim[4:164, 4:164] = False
    assert torch.equal(spoken[..., rim], crops[..., rim])
    assert (spoken[..., ~rim] != crops[..., ~rim]).float().mean() > 0.9


# ---- frames, batches, recordings


def test_batches_of_any_size_give_the_same_person(engine, pictures):
    seen = track(count=COUNT, found=[True, True, False] + [True] * (COUNT - 3))
    results = [made(redubber(engine, most, Wishes()), pictures, seen).int() for most in (1, 3, 16)]
    for found in results[1:]:
        assert (found - results[0]).abs().max() <= 1
    assert redubber(engine, 100, Wishes()).at_once == 16


def test_a_frame_without_the_person_passes_through_and_shifts_no_sound(engine, pictures):
    method = redubber(engine, 4, Wishes())
    whole = made(method, pictures, track(count=COUNT))
    for gone in (0, COUNT - 1):
        found = made(method, pictures, track(count=COUNT, found=np.arange(COUNT) != gone))
        assert len(found) == COUNT
        assert torch.equal(found[gone], pictures[gone])
        assert (found[gone] != whole[gone]).any()
        far = slice(4, None) if gone == 0 else slice(None, COUNT - 4)
        assert (found[far].int() - whole[far].int()).abs().max() <= 1


def test_what_is_said_changes_the_lips(engine, pictures):
    method, seen = redubber(engine, 16, Wishes()), track(count=COUNT)
    one, other = (made(method, pictures, seen, recording(seed=seed)) for seed in (1, 2))
    assert torch.equal(made(method, pictures, seen, recording(seed=1)), one)
    for first, second in zip(one, other, strict=True):
        assert (first != second).any()


WISHED = {
    "strength": Wishes(strength=0.5),
    "sync_offset": Wishes(sync_offset=80.0),
    "smoothing": Wishes(smoothing="centred"),
    "shift": Wishes(shift=5),
}


@pytest.mark.parametrize("name", WISHED)
def test_each_wish_changes_the_pictures(engine, pictures, name):
    plain, wished = (made(redubber(engine, 16, wish), pictures, shaken()) for wish in (Wishes(), WISHED[name]))
    assert (plain != wished).any((1, 2, 3)).all()


def test_wishes_for_what_is_heard(engine):
    assert {*WISHED, "cover_tail", "joints"} == KNOWN == redubber(engine, 1, Wishes()).known
    tail = Recording(torch.zeros(SAMPLE_RATE + 1))
    counts = [len(redubber(engine, 1, Wishes(cover_tail=cover)).listen(tail, Fraction(25))) for cover in (False, True)]
    assert counts == [25, 26]
    sound = recording(21)
    heard = [
        redubber(engine, 1, Wishes(joints=joints)).listen(sound, Fraction(25)) for joints in ("blocks", "overlapped")
    ]
    assert torch.equal(heard[0][[100]], heard[1][[100]])
    assert (heard[0][[500]] - heard[1][[500]]).abs().max() > 0.01, "20 s is a joint"


def test_lips_come_later_by_whole_frames(engine):
    plain, later = (redubber(engine, 1, Wishes(sync_offset=offset)).listen(recording(1), 25) for offset in (0.0, 80.0))
    assert torch.equal(later[[12]], plain[[10]])


# ---- what is heard


@pytest.mark.parametrize("rate", RATES)
def test_a_second_of_sound_is_a_second_of_a_persons_film_at_any_rate(engine, rate):
    """16 rows, of which the ninth begins with the frame; of the original's 25 frames a second, and of no other."""
    method = redubber(engine, 8, Wishes(cover_tail=True))
    sound = recording(10.1)
    windows = method.listen(sound, rate)
    assert len(windows) == -(-len(sound.samples) * rate // SAMPLE_RATE)
    last = len(windows) - 1
    assert windows[[0, last]].shape == (2, 16, 1024)
    rows = windows.rows([0, last // 2, last])
    assert rows[:, 8].tolist() == [int(number * 50 / rate) for number in (0, last // 2, last)]
    assert (windows[[0]][0, :8] == 0).all()
    assert (windows[[0]][0, 8:] != 0).any(1).all()


def test_the_network_is_made_ready_each_time_with_the_memory_that_it_needs(network):
    asked = []

    def ready(one, memory=0):
        asked.append((one, memory))
        return one

    hubert = small_hubert(seed=5)
    method = redubber(Engine(network, parts={"hubert": hubert}, ready=ready), 2, Wishes())
    heard = method.listen(recording(seed=9), Fraction(25))
    assert asked == []
    method.speak(torch.zeros(2, 3, 168, 168, dtype=torch.uint8), heard[[0, 1]], lambda *_: None)
    assert [one for one, _ in asked] == [hubert, network]
    assert asked[1][1] == method.memory == 2 * 480 * 160**2 * 4
    assert asked[0][1] > 0


def test_half_precision_of_the_network_alone(network, pictures):
    """The speech encoder keeps its own."""
    half = Generator(network.sizes)
    half.load_state_dict(network.state_dict())
    engine = Engine(half.bfloat16().requires_grad_(False), dtype=torch.bfloat16, parts={"hubert": small_hubert()})
    method = redubber(engine, 4, Wishes())
    found = made(method, pictures, track(count=COUNT))
    plain = made(
        redubber(replace(engine, network=network, dtype=torch.float32), 4, Wishes()), pictures, track(count=COUNT)
    )
    assert 0 < (found.float() - plain.float()).abs().mean() < 3
    assert method.memory == 4 * 480 * 160**2 * 2


# ---- what is refused


def test_another_speech_encoder_is_refused(network):
    with pytest.raises(
        RedubError, match=r"gives 64 numbers at a time, .* trained with 1024: take hubert-large-ls960-ft"
    ):
        redubber(Engine(network, parts={"hubert": small_hubert(width=64)}), 4, Wishes())


@pytest.mark.parametrize(
    ("dtype", "remedy"), [(torch.bfloat16, "choose fp32"), (torch.float32, "of its speech encoder")]
)
def test_a_person_that_is_no_number_is_not_shown(engine, pictures, dtype, remedy):
    method = replace(
        redubber(engine, 4, Wishes()), network=lambda heard, faces, strength: faces[:, :3] * torch.nan, dtype=dtype
    )
    with pytest.raises(RedubError, match=remedy):
        made(method, pictures, track(count=COUNT))
