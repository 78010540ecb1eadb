"""MuseTalk behind the seam: what is pasted, what is heard, and what is not computed twice."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from upright_face import SIZE, track

from joyhallo.config import SAMPLE_RATE
from joyhallo.faces.blend import Blend
from joyhallo.methods import METHODS
from joyhallo.methods.musetalk.avatar import Avatar
from joyhallo.methods.musetalk.boxes import boxes_of
from joyhallo.methods.musetalk.method import MuseTalk, faces_of, redubber
from joyhallo.methods.musetalk.network import Sizes, UNet
from joyhallo.methods.musetalk.parser import LABELS
from joyhallo.methods.redub import Engine, RedubError, Wishes, placed, redub, repainted
from joyhallo.methods.script import script
from joyhallo.sound.audio import Recording
from joyhallo.sound.whisper import MUSETALK, Whisper, hear

RATES = [Fraction(25), Fraction(30), Fraction(30_000, 1001), Fraction(24_000, 1001), Fraction(60), Fraction(12)]


class Codec:
    """In place of a VAE: four mixtures of the colours, averaged; it counts what it encodes."""

    def __init__(self):
        self.mixture = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0.3, 0.3, 0.3]])
        self.encoded = 0

    def encode(self, pixels):
        self.encoded += len(pixels)
        return F.avg_pool2d(torch.einsum("oc,nchw->nohw", self.mixture, pixels), 8)

    def decode(self, latents):
        return F.interpolate(latents[:, :3], scale_factor=8.0)


torch.manual_seed(1)
WHISPER = Whisper(16, 4, inner=16, heads=2).requires_grad_(False)
WHISPER.load_state_dict({key: 0.2 * torch.randn(tensor.shape) for key, tensor in WHISPER.state_dict().items()})


def heard(samples, joints):
    return hear(WHISPER, samples, MUSETALK, joints)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return UNet(Sizes((32, 32), 1, 16, 4)).requires_grad_(False)


@pytest.fixture
def engine(net):
    return Engine(net, parts={"vae": Codec(), "whisper": WHISPER}, version="1.5")


@pytest.fixture(scope="module")
def pictures():
    small = torch.rand(6, 3, 12, 10, generator=torch.Generator().manual_seed(1))
    return (F.interpolate(small, SIZE[::-1], mode="bicubic").clamp(0, 1) * 255).byte().permute(0, 2, 3, 1).contiguous()


def made(method, pictures, seen, seconds=0.24, shown=None, seed=0):
    sound = Recording(torch.rand(round(seconds * SAMPLE_RATE), generator=torch.Generator().manual_seed(seed)))
    heard = method.listen(sound, seen.rate)
    shown = np.arange(len(heard)) if shown is None else np.array(shown)
    crops = method.crops(seen)
    written = script(shown, crops.usable, seen.cuts, len(heard))
    chunks = redub(method, (pictures[place] for place in shown), crops, heard, written)
    return torch.cat([placed(chunk, crops, written, Blend()) for chunk in chunks])


# ---- what is pasted


@pytest.mark.parametrize("area", ["jaw", "raw", "neck", "box"])
@pytest.mark.parametrize("scheme", ["mesh", "marks", "none"])
def test_a_crop_that_did_not_change_changes_nothing(pictures, scheme, area):
    """But for what shrinking and enlarging loses; and to the last bit where the mask is black."""
    seen = track(scheme, 1)
    faces = faces_of(seen, boxes_of(seen, "original"), area)
    patch = faces.patch(faces.cut(pictures[:1], [0])[0], 0)
    assert patch is not None
    assert patch.weights is not None
    assert patch.weights.max() > 0.9
    rows, columns = patch.box.slices
    away = (patch.pixels.int() - pictures[0, rows, columns].int()).abs()
    assert away.max() <= 3
    weights = repainted(faces, 256, script(np.arange(1), faces.usable, (), 1), 0, Blend(), SIZE[::-1])
    assert weights[: (rows.start + rows.stop) // 2 - 8].max() == 0


def test_nothing_but_the_lower_face_changes(engine, pictures):
    method = redubber(engine, 8, Wishes())
    found = made(method, pictures, track(count=6))
    shown = repainted(
        method.crops(track(count=6)), 256, script(np.arange(6), np.ones(6, bool), (), 6), 2, Blend(), SIZE[::-1]
    )
    changed = (found[2] != pictures[2]).any(-1)
    assert changed[150:185, 80:120].float().mean() > 0.9
    assert not changed[shown == 0].any()


def test_a_parser_keeps_its_precision_when_the_network_has_another(engine):
    parser = torch.nn.Conv2d(3, LABELS, 1)
    parts = {**engine.parts, "parser": parser}
    method = redubber(Engine(engine.network, dtype=torch.bfloat16, parts=parts, version="1.5"), 4, Wishes())
    assert method.parse is not None
    assert method.parse(torch.zeros(1, 3, 8, 8)).dtype == torch.float32


def test_a_parser_is_shown_the_picture_and_obeyed(engine, pictures):
    """A mouth to the left of the middle, and no skin: only there anything changes, seen once for each frame."""
    asked = []

    class Parser(torch.nn.Conv2d):
        def forward(self, seen):
            asked.append(tuple(seen.shape))
            labels = torch.zeros(len(seen), 512, 512, dtype=torch.long)
            labels[:, 256:, :256] = 12
            return F.one_hot(labels, LABELS).permute(0, 3, 1, 2).float()

    parts = {**engine.parts, "parser": Parser(3, LABELS, 1)}
    method = redubber(Engine(engine.network, parts=parts, version="1.5"), 4, Wishes())
    seen = track(count=6)
    found = made(method, pictures, seen)
    assert asked == [(1, 3, 512, 512)] * 6
    changed = (found != pictures).any(-1)
    assert changed[:, 160:185, 60:90].float().mean() > 0.9
    assert not changed[:, :, 110:].any()
    faces = method.crops(seen)
    written = script(np.arange(6), faces.usable, (), 6)
    told = repainted(faces, 256, written, 1, Blend(), SIZE[::-1], pictures[1])
    assert not changed[1][told == 0].any()


# ---- frames, batches, recordings


@pytest.mark.parametrize("version", ["1.5", "1.0"])
def test_batches_of_any_size_give_the_same(engine, pictures, version):
    engine = Engine(engine.network, parts=engine.parts, version=version)
    seen = track(count=6, found=[True, True, False, True, True, True])
    results = [made(redubber(engine, most, Wishes()), pictures, seen).int() for most in (1, 3, 8)]
    for found in results[1:]:
        assert (found - results[0]).abs().max() <= 1
    assert redubber(engine, 100, Wishes()).at_once == 8


def test_a_frame_without_a_face_shifts_no_sound(engine, pictures):
    method = redubber(engine, 4, Wishes())
    whole = made(method, pictures, track(count=6))
    gap = made(method, pictures, track(count=6, found=[True, True, True, True, True, False]))
    assert len(gap) == len(whole) == 6
    assert torch.equal(gap[5], pictures[5])
    assert torch.equal(gap[:2], whole[:2])
    first = made(method, pictures, track(count=6, found=[False, True, True, True, True, True]))
    assert torch.equal(first[0], pictures[0])
    assert (first[4:].int() - whole[4:].int()).abs().max() <= 1


def test_another_recording_on_the_same_film_encodes_no_picture(net, pictures):
    codec, avatar = Codec(), Avatar()

    def method(mark):
        return MuseTalk(net, codec, heard, "1.5", at_once=4, avatar=avatar, of_what=mark)

    seen = track(count=6)
    first = made(method("vae"), pictures, seen, seed=1)
    assert codec.encoded == 2 * 6
    second = made(method("vae"), pictures, seen, seed=2)
    assert codec.encoded == 2 * 6, "all were known"
    assert (first != second).any(), "but what was heard differs"
    assert torch.equal(made(method("vae"), pictures, seen, seed=1), first)
    made(method("another vae"), pictures, seen)
    assert codec.encoded == 4 * 6
    changed = pictures.clone()
    changed[3, 150, 100] ^= 255
    made(method("vae"), changed, seen)
    assert codec.encoded == 4 * 6 + 2, "only the face that changed is encoded again"


def test_without_a_fingerprint_nothing_is_kept_for_another_run(engine, pictures):
    for _ in range(2):
        made(redubber(engine, 4, Wishes()), pictures, track(count=6))
    assert engine.parts["vae"].encoded == 24
    marked = Engine(engine.network, parts=engine.parts, fingerprints={"vae": "of a test"})
    for _ in range(2):
        made(redubber(marked, 4, Wishes()), pictures, track(count=6))
    assert engine.parts["vae"].encoded == 36


def test_pictures_that_are_shown_again_are_encoded_once(engine, pictures):
    made(redubber(engine, 4, Wishes()), pictures, track(count=6), 0.4, [0, 1, 2, 1, 0, 1, 2, 1, 0, 0])
    assert engine.parts["vae"].encoded == 2 * 3


def test_an_avatar_forgets_what_was_used_least_recently():
    crops, asked = torch.arange(12, dtype=torch.uint8).view(4, 3), []

    def encode(some):
        asked.extend(some[:, 0].tolist())
        return some.float()

    avatar = Avatar(most=3 * 12)
    for place in (0, 1, 2, 0, 3, 0, 1):
        assert torch.equal(avatar.of(crops[[place]], "", encode)[0], crops[place].float())
    assert asked == [0, 3, 6, 9, 3]
    assert avatar.kept.held == 12 * len(avatar.kept) == 36


@pytest.mark.parametrize(("dtype", "remedy"), [(torch.float16, "choose fp32"), (torch.float32, "download it again")])
def test_what_is_no_number_is_not_shown(pictures, dtype, remedy):
    method = MuseTalk(lambda latents, sound: latents[:, :4] * torch.nan, Codec(), heard, "1.5", dtype=dtype)
    with pytest.raises(RedubError, match=remedy):
        made(method, pictures, track(count=6))


def test_versions_differ_in_box_and_mask(engine):
    for version, known, margin in (("1.5", "pads", 10), ("1.0", "shift", 0)):
        method = redubber(Engine(engine.network, parts=engine.parts, version=version), 8, Wishes(shift=5))
        faces, plain = method.crops(track()), boxes_of(track(), "original")
        assert known in method.known
        assert (faces.boxed.boxes[0] - plain[0]).tolist() == [0, 10 if version == "1.0" else 0, 0, margin]
        assert faces.area == {"1.5": "jaw", "1.0": "raw"}[version]


def test_the_version_is_guessed_by_the_name(tmp_path):
    method = next(method for method in METHODS if method.name == "MuseTalk")
    names = {
        "musetalkV15/unet.pth": "1.5",
        "musetalk/pytorch_model.bin": "1.0",
        "musetalk/unet.safetensors": "1.5",
        "checkpoints/musetalk_v1.safetensors": "1.0",
        "checkpoints/musetalk-1.5-fp16.safetensors": "1.5",
    }
    assert {name: method.version(tmp_path / name) for name in names} == names, "nothing else tells them apart"


# ---- what is heard


@pytest.mark.parametrize("rate", RATES)
def test_a_second_of_sound_is_a_second_of_film_at_any_rate(engine, rate):
    method = redubber(engine, 8, Wishes(cover_tail=True))
    windows = method.listen(Recording(torch.rand(10 * SAMPLE_RATE + 1)), rate)
    assert len(windows) == int(10 * rate) + 1
    assert windows[[0, len(windows) - 1]].shape == (2, 50, 16)
