"""StableSyncNet, against a transcription of its specification on tensors alone; its files, and how it judges a film."""

import math

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from joyhallo.files.checkpoint import shapes
from joyhallo.files.contents import WeightsError
from joyhallo.measures.stable_syncnet import (
    FACTORS,
    Judging,
    Sizes,
    StableSyncNet,
    Stages,
    agreement,
    open_stable_syncnet,
    windows_heard,
    windows_shown,
)
from joyhallo.sound.mel import mel

SOUND, PICTURE = FACTORS["audio_encoder", 7], FACTORS["visual_encoder", 8]
PIXELS = Sizes(
    Stages(1, (32,) * 6 + (64,), SOUND, (False,) * 3 + (True,) * 2 + (False,) * 2),
    Stages(48, (32,) * 7 + (64,), PICTURE, (False,) * 4 + (True,) * 2 + (False,) * 2),
)
OF_1_0 = Sizes(Stages(1, (32,) * 6 + (64,), SOUND, (False,) * 7), Stages(48, (32,) * 7 + (64,), PICTURE, (False,) * 8))
LATENTS = Sizes(
    Stages(1, (32,) * 5 + (64,), FACTORS["audio_encoder", 6], (False,) * 6),
    Stages(64, (32,) * 5 + (64,), FACTORS["visual_encoder", 6], (False,) * 6),
)


def drawn(sizes):
    return {
        key: torch.randn(shape) / math.sqrt(math.prod(shape[1:])) if len(shape) > 1 else 0.5 * torch.randn(shape) + 1
        for key, shape in shapes(lambda: StableSyncNet(sizes)).items()
    }


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(5)
    return drawn(PIXELS)


@pytest.fixture(scope="module")
def file(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("judge") / "stable_syncnet.pt"
    torch.save({"global_step": 9, "state_dict": state, "train_step_list": [1, 2], "train_loss_list": [0.5, 0.4]}, path)
    return path


@pytest.fixture(scope="module")
def net(file):
    return open_stable_syncnet(file).build()


# ---- the network


def normed(x, w, name):
    return F.group_norm(x, 32, w[f"{name}.weight"], w[f"{name}.bias"], 1e-6)


def convolved(x, w, name, stride=1, padding=0):
    return F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], stride, padding)


def linear(x, w, name):
    return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])


def attended(x, w, name):
    count, channels = x.shape[:2]
    tokens = convolved(normed(x, w, f"{name}.norm1"), w, f"{name}.conv_in").reshape(count, channels, -1).mT
    seen = F.layer_norm(tokens, (channels,), w[f"{name}.norm2.weight"], w[f"{name}.norm2.bias"])
    q, k, v = (linear(seen, w, f"{name}.attn.to_{part}").reshape(count, -1, 8, channels // 8) for part in "qkv")
    weights = (torch.einsum("nihc,njhc->nhij", q, k) / math.sqrt(channels // 8)).softmax(-1)
    found = torch.einsum("nhij,njhc->nihc", weights, v).reshape(count, -1, channels)
    tokens = tokens + linear(found, w, f"{name}.attn.to_out.0")
    value, gate = linear(
        F.layer_norm(tokens, (channels,), w[f"{name}.norm3.weight"], w[f"{name}.norm3.bias"]),
        w,
        f"{name}.ff.net.0.proj",
    ).chunk(2, -1)
    tokens = tokens + linear(value * F.gelu(gate), w, f"{name}.ff.net.2")
    return x + convolved(tokens.mT.reshape(x.shape), w, f"{name}.conv_out")


MARGINS = {(2, 2): (0, 1, 0, 1), (2, 3): (0, 1, 0, 1), (1, 2): (0, 1, 1, 1), (2, 1): (1, 1, 0, 1)}


def encoded(x, w, name, stages):
    x, number = convolved(x, w, f"{name}.conv_in", padding=1), 0
    for factor, attention in zip(stages.factors, stages.attention, strict=True):
        block = f"{name}.down_blocks.{number}"
        h = convolved(F.silu(normed(x, w, f"{block}.norm1")), w, f"{block}.conv1", padding=1)
        h = convolved(F.silu(normed(h, w, f"{block}.norm2")), w, f"{block}.conv2", padding=1)
        x = h + (convolved(x, w, f"{block}.conv_shortcut") if f"{block}.conv_shortcut.weight" in w else x)
        if factor != (1, 1):
            x = convolved(F.pad(x, MARGINS[factor]), w, f"{block}.downsample_conv", factor)
        if attention:
            x = attended(x, w, f"{name}.down_blocks.{number + 1}")
        number += 1 + attention
    x = normed(x, w, f"{name}.norm_out").clamp(min=0).flatten(1)
    return x / x.norm(dim=1, keepdim=True)


def test_the_network_is_the_specified_one(net, state):
    faces, spectra = torch.rand(2, 48, 128, 256) * 2 - 1, torch.randn(2, 1, 80, 52)
    seen, heard = net(faces, spectra)
    torch.testing.assert_close(seen, encoded(faces, state, "visual_encoder", PIXELS.picture), rtol=0, atol=2e-5)
    torch.testing.assert_close(heard, encoded(spectra, state, "audio_encoder", PIXELS.sound), rtol=0, atol=2e-5)
    assert seen.shape == heard.shape == (2, 64)
    torch.testing.assert_close(agreement(seen, heard), (seen * heard).sum(1))


# ---- files


@pytest.mark.parametrize("sizes", [PIXELS, OF_1_0, LATENTS], ids=["1.5", "1.0", "latents"])
def test_sizes_are_told_by_weights(sizes, tmp_path):
    torch.save({"state_dict": drawn(sizes)}, tmp_path / "judge.pt")
    found = open_stable_syncnet(tmp_path / "judge.pt")
    assert Sizes.of(found.weights) == sizes
    inputs = (1, 64, 32, 32) if sizes is LATENTS else (1, 48, 128, 256)
    seen, heard = found.build()(torch.randn(inputs), torch.randn(1, 1, 80, 52))
    assert seen.shape == heard.shape == (1, 64)


def complaint(path) -> str:
    with pytest.raises(WeightsError) as caught:
        open_stable_syncnet(path)
    assert path.name in str(caught.value)
    return str(caught.value)


def test_what_is_refused(tmp_path, state):
    path = tmp_path / "judge.safetensors"
    save_file({"netcnnlip.0.weight": torch.zeros(1)}, path)
    assert "Expected LatentSync's StableSyncNet" in complaint(path)
    key = "audio_encoder.down_blocks.8.conv2.bias"
    save_file({name: tensor for name, tensor in state.items() if name != key}, path)
    assert f"1 missing ({key})" in complaint(path)
    save_file({name: tensor for name, tensor in state.items() if ".down_blocks.7." not in name}, path)
    assert "its sizes cannot be told" in complaint(path)
    odd = "visual_encoder.down_blocks.0.conv1.weight"
    save_file({**state, odd: torch.zeros(33, 32, 3, 3)}, path)
    assert "its sizes cannot be told" in complaint(path)
    save_file({**state, odd: torch.zeros(32, 32, 3, 3, dtype=torch.int32)}, path)
    assert "holds whole numbers" in complaint(path)


# ---- films


def faces_of(count):
    return torch.randint(0, 256, (count, 256, 256, 3), dtype=torch.uint8)


def test_what_it_is_shown_and_told():
    faces = faces_of(32)
    shown = windows_shown(faces)
    assert shown.shape == (2, 48, 128, 256)
    assert shown[1, 3 * 5 + 2, 7, 9] == pytest.approx(faces[21, 128 + 7, 9, 2].item() / 127.5 - 1)
    spectrum = torch.arange(200.0).expand(80, -1)
    assert windows_heard(spectrum, range(0, 3))[:, 0, 0, 0].tolist() == [0, 51, 102]
    assert windows_heard(spectrum, range(2, 3)).shape == (1, 1, 80, 52)


@pytest.mark.parametrize("length", [5, 16, 50])
def test_a_film_is_judged_every_sixteen_frames(net, length):
    faces, samples = faces_of(50), 0.1 * torch.randn(640 * 50)
    judging = Judging(net, samples)
    for piece in faces.split(length):
        judging.see(piece)
    spectrum = mel(samples, "silent")
    expected = [
        agreement(*net(windows_shown(faces[start : start + 16]), spectrum[None, None, :, int(3.2 * start) :][..., :52]))
        for start in (0, 16, 32)
    ]
    torch.testing.assert_close(judging.cosines, torch.cat(expected))
    assert bool((judging.cosines > 0).all())


@pytest.mark.parametrize(("samples", "windows"), [(0, 0), (10_199, 0), (10_200, 1), (20_399, 1), (20_400, 2)])
def test_windows_end_with_the_sound(net, samples, windows):
    """52 columns, of which the last is centred on sample 10 200; the second window begins with column 51."""
    judging = Judging(net, torch.zeros(samples))
    judging.see(faces_of(48))
    assert len(judging.cosines) == windows == judging.most


def test_other_pictures_are_refused(net):
    with pytest.raises(ValueError, match="expected bytes"):
        Judging(net, torch.zeros(20_000)).see(torch.zeros(16, 96, 96, 3, dtype=torch.uint8))
