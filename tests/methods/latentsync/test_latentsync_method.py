"""LatentSync behind the seam: windows, guidance, steps, what is kept, and what is heard."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from test_latentsync_crops import points, track
from torch.nn import functional as F

from joyhallo.config import SAMPLE_RATE
from joyhallo.faces.blend import Blend
from joyhallo.files.journal import Journal
from joyhallo.methods.latentsync.memory import working_memory
from joyhallo.methods.latentsync.method import SIDES, redubber
from joyhallo.methods.latentsync.network import INPUTS, Sizes, UNet
from joyhallo.methods.latentsync.sampling import Leading, Settings, denoise
from joyhallo.methods.redub import Engine, RedubError, Wishes, placed, redub
from joyhallo.methods.script import Script, script
from joyhallo.sound.audio import Recording
from joyhallo.sound.whisper import Whisper

SIZES = Sizes((32, 32), 1, 16, heads=4)
QUICK = Wishes(steps=2)


class Codec:
    """In place of a VAE: four mixtures of the colours, averaged."""

    def __init__(self):
        self.mixture = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0.3, 0.3, 0.3]])
        self.encoded = []

    def encode(self, pixels):
        self.encoded.append(pixels)
        return F.avg_pool2d(torch.einsum("oc,nchw->nohw", self.mixture, pixels), 8)

    def decode(self, latents):
        return F.interpolate(latents[:, :3], scale_factor=8.0).float()


class Watched(UNet):
    """Tells how large the windows are and how many rows they have."""

    def forward(self, latents, timestep, rows, deep=None, reusable=False):
        self.calls.append((len(latents), len(rows), deep is not None))
        return super().forward(latents, timestep, rows, deep, reusable)


@pytest.fixture
def net():
    torch.manual_seed(0)
    made = Watched(SIZES).requires_grad_(False).eval()
    for _, buffer in made.named_buffers():
        buffer.zero_()
    made.calls = []
    return made


@pytest.fixture(scope="module")
def whisper():
    torch.manual_seed(0)
    made = Whisper(16, 4, heads=2).requires_grad_(False).eval()
    made.positional_embedding.zero_()
    return made


@pytest.fixture
def engine(net, whisper):
    return Engine(net, parts={"vae": Codec(), "whisper": whisper}, version="1.5")


def small(method):
    """The network does not mind how large faces are; 64 pixels are quick."""
    return replace(method, size=64)


PICTURES = (torch.rand(40, 60, 50, 3, generator=torch.Generator().manual_seed(3)) * 255).byte()
THREE = (points() - 100) * 0.3 + (25, 30)


def film(count):
    return track([np.add(THREE, (0.5 * number, 0)) for number in range(count)], size=(50, 60))


def made(method, count, kept=None, spoken=None, on_progress=None):
    seen = film(count)
    crops = method.crops(seen)
    assert crops.usable.all()
    written = Script(np.arange(count), np.ones(count, np.float32) if spoken is None else np.array(spoken, np.float32))
    heard = torch.randn(count, 50, 16, generator=torch.Generator().manual_seed(5))
    chunks = list(redub(method, iter(PICTURES), crops, heard, written, kept=kept, on_progress=on_progress))
    found = torch.cat([chunk.frames for chunk in chunks])
    return found, torch.cat([placed(chunk, crops, written, Blend()) for chunk in chunks])


def test_versions_differ_in_size_alone(engine):
    assert {version: redubber(replace(engine, version=version), 32, QUICK).size for version in SIDES} == SIDES
    assert redubber(replace(engine, version=""), 32, QUICK).size == 512
    assert redubber(engine, 1, QUICK).at_once == 16, "a window is never split"


def test_the_last_window_is_as_short_as_it_is(engine, net):
    method = small(redubber(engine, 16, QUICK))
    found, pictures = made(method, 34)
    assert [frames for frames, _, _ in net.calls] == [16, 16, 16, 16, 2, 2]
    assert found.shape == (34, 3, 64, 64)
    assert (pictures != PICTURES[:34]).flatten(1).any(1).all()
    net.calls.clear()
    made(method, 17)
    assert [frames for frames, _, _ in net.calls] == [16, 16, 1, 1]


def test_frames_that_do_not_speak_are_left_out(engine, net):
    spoken = [True, False, True, False]
    found, pictures = made(small(redubber(engine, 16, QUICK)), 4, spoken=spoken)
    assert net.calls[0][0] == len(found) == 2
    assert torch.equal(pictures[1], PICTURES[1])
    assert not torch.equal(pictures[0], PICTURES[0])


@pytest.mark.parametrize(("wished", "rows"), [(0.0, 2), (1.5, 2), (1.0, 1), (0.5, 1)])
def test_guidance_up_to_one_compares_nothing(engine, net, wished, rows):
    made(small(redubber(engine, 16, Wishes(steps=1, guidance=wished))), 1)
    assert [count for _, count, _ in net.calls] == [rows]


def test_guidance_moves_away_from_silence(net):
    """Twice as far at 2 as at 1, in a single step."""
    torch.manual_seed(1)
    noise, given, sound = torch.randn(1, 4, 8, 8), torch.randn(2, INPUTS - 4, 8, 8), 10 * torch.randn(2, 50, 16)
    one, two, three = (denoise(net, noise, given, sound, Settings(1, guidance)) for guidance in (1.0, 2.0, 3.0))
    assert torch.allclose(three - two, two - one, atol=2e-4)
    assert (two - one).abs().max() > 1e-3


def test_three_steps_share_what_the_deep_layers_found(engine, net):
    made(small(redubber(engine, 16, Wishes(steps=7, reuse=3))), 1)
    assert [reused for _, _, reused in net.calls] == [False, True, True, False, True, True, False]


@pytest.mark.parametrize("solver", ["dpmpp_2m", "unipc"])
def test_other_solvers_arrive_where_many_steps_do(net, solver):
    torch.manual_seed(1)
    inputs = torch.randn(1, 4, 8, 8), torch.randn(1, INPUTS - 4, 8, 8), torch.randn(1, 50, 16)
    many = denoise(net, *inputs, Settings(80))
    few, plain = denoise(net, *inputs, Settings(10, solver=solver)), denoise(net, *inputs, Settings(10))
    assert (few - many).abs().mean() < (plain - many).abs().mean()


def test_steps_are_those_of_diffusers():
    from diffusers import DDIMScheduler

    theirs = DDIMScheduler(
        1000, 0.00085, 0.012, "scaled_linear", clip_sample=False, set_alpha_to_one=False, steps_offset=1
    )
    for steps in (1, 3, 20, 30, 333):
        theirs.set_timesteps(steps)
        ours = Leading().ddim(steps)
        assert [step.timestep for step in ours] == theirs.timesteps.tolist()
        x = expected = torch.randn(2, 3)
        for number, step in enumerate(ours[:40]):
            noise = torch.randn(2, 3)
            expected = theirs.step(noise, theirs.timesteps[number], expected).prev_sample
            x = step.advance(x, step.velocity_of(noise, x))
        assert torch.allclose(x, expected, atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match="choose from 1 to 500"):
        Leading().timesteps(501)


def test_progress_is_told_step_by_step(engine):
    told = []
    made(small(redubber(engine, 16, Wishes(steps=3))), 17, on_progress=told.append)
    assert [(progress.done, progress.total) for progress in told] == [(n, 6) for n in range(1, 7)]
    assert [tuple(progress.estimate.shape) for progress in told[2:4]] == [(16, 4, 8, 8), (1, 4, 8, 8)]


# ---- what depends on what


def test_all_frames_begin_with_the_same_noise(net, engine):
    """Without steps to speak of, equal frames that hear the same come out equal, and another seed gives others."""
    method = small(redubber(engine, 16, QUICK))
    crops = (torch.rand(1, 3, 64, 64) * 255).byte().expand(3, -1, -1, -1)
    heard = torch.randn(1, 50, 16).expand(3, -1, -1)
    first = method.speak(crops, heard, lambda *_: None)
    assert torch.allclose(first[0], first[2], atol=1e-4)
    other = small(redubber(engine, 16, replace(QUICK, seed=1))).speak(crops, heard, lambda *_: None)
    assert (other - first).abs().max() > 0.01


def test_what_is_kept_of_a_face_is_the_face(engine):
    method = small(redubber(engine, 16, replace(QUICK, area="mask3")))
    crops = (torch.rand(2, 3, 64, 64) * 255).byte()
    made = method.speak(crops, torch.randn(2, 50, 16), lambda *_: None)
    back = ((made / 2 + 0.5) * 255).round()
    assert torch.equal(back[:, :, :30].byte(), crops[:, :, :30])
    assert (back[:, :, 36:44, 20:44] - crops[:, :, 36:44, 20:44]).abs().mean() > 5


def test_masked_faces_are_grey_there_and_come_first(engine):
    method = small(redubber(engine, 16, QUICK))
    crops = (torch.rand(1, 3, 64, 64) * 255).byte()
    method.speak(crops, torch.randn(1, 50, 16), lambda *_: None)
    masked, whole = engine.parts["vae"].encoded
    assert not masked[:, :, 36:44, 20:44].any()
    assert torch.allclose(whole, crops.float() / 127.5 - 1, atol=1e-6)


def test_an_unknown_area_is_refused_at_once(engine):
    with pytest.raises(RedubError, match="no area jaw; choose auto or one of mask, mask2, mask3, mask4"):
        redubber(engine, 16, Wishes(area="jaw"))


def test_faces_that_are_no_numbers_are_said_to_be(engine):
    engine.parts["vae"].decode = lambda latents: latents[:, :3].repeat_interleave(8, 2).repeat_interleave(8, 3) / 0
    with pytest.raises(RedubError, match="no numbers at all"):
        small(redubber(engine, 16, QUICK)).speak(torch.zeros(1, 3, 64, 64).byte(), torch.randn(1, 50, 16), print)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_was_kept_is_what_was_made(engine, net, tmp_path, dtype):
    """To the bit, in the dtype that the journal keeps."""
    method = small(redubber(replace(engine, network=net.to(dtype), dtype=dtype), 16, QUICK))
    journal = Journal(tmp_path, "key", (16, 3, 64, 64), method.stored)
    fresh, pictures = made(method, 18, journal)
    assert fresh.dtype == method.stored
    net.calls.clear()
    again, same = made(method, 18, journal)
    assert not net.calls
    assert torch.equal(again, fresh)
    assert torch.equal(same, pictures)


def test_the_network_is_made_ready_after_the_vae_has_run(engine):
    """With the memory that a window needs, each time: the VAE may have put it away."""
    order = []
    engine.parts["vae"].encoded = type("", (), {"append": lambda _, pixels: order.append("vae")})()

    def ready(network, memory=0):
        order.append(memory)
        return network

    made(small(redubber(replace(engine, ready=ready), 16, QUICK)), 17)
    need = working_memory(SIZES, 64, Settings(2), torch.float32, device="cpu")
    assert order == [*["vae"] * 32, need, "vae", "vae", need]


# ---- sound


def listened(engine, seconds, rate=Fraction(25), **wishes):
    sound = Recording(torch.rand(round(seconds * SAMPLE_RATE), generator=torch.Generator().manual_seed(0)) - 0.5)
    return redubber(engine, 16, Wishes(**wishes)).listen(sound, rate)


def test_a_recording_gives_a_frame_or_two_more_than_it_lasts(engine):
    assert len(listened(engine, 0.6)) == 17
    assert len(listened(engine, 0.6, cover_tail=True)) == 15
    assert listened(engine, 0.6)[[0, 16]].shape == (2, 50, 16)
    assert len(listened(engine, 0.6, Fraction(50), cover_tail=True)) == 30


def test_lips_come_later_by_as_much_as_is_wished(engine):
    plain, late = listened(engine, 1.0), listened(engine, 1.0, sync_offset=40.0)
    assert torch.equal(late[[6, 7]], plain[[5, 6]])


def test_a_frame_without_a_face_stays(engine):
    found = [True, False, True]
    seen = track([THREE] * 3, found, size=(50, 60))
    method = small(redubber(engine, 16, QUICK))
    crops = method.crops(seen)
    written = script(np.arange(3), crops.usable, seen.cuts, 3)
    (chunk,) = redub(method, iter(PICTURES), crops, torch.randn(3, 50, 16), written)
    assert chunk.at == (0, 2)
    assert torch.equal(placed(chunk, crops, written, Blend())[1], PICTURES[1])
