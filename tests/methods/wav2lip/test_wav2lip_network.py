"""The networks without norms against the same ones with them, which are what is published."""

import json

import lips
import pytest
import torch
from boxed_frames import cut, pasted
from parity_wav2lip import NETWORKS
from shared import shared_folder
from torch import nn

from joyhallo.files.norms import COUNTER
from joyhallo.methods.wav2lip.boxes import Pads, padded, smoothed
from joyhallo.methods.wav2lip.checkpoint import published
from joyhallo.methods.wav2lip.network import Block, Generator
from joyhallo.methods.wav2lip.pixels import as_crops, inputs
from joyhallo.ops import CastOps


def noise(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, (*shape, 3), dtype=torch.uint8)


def with_norms(name: str) -> nn.Module:
    net = NETWORKS[name]()
    for block in net.modules():
        if isinstance(block, Block):
            block.conv_block.append(nn.BatchNorm2d(block.conv_block[0].out_channels))
    missing, unknown = net.load_state_dict(lips.drawn(name), strict=False)
    assert not unknown
    assert all(key.endswith(COUNTER) for key in missing)
    return net.double().eval().requires_grad_(False)


@pytest.mark.parametrize("name", ["wav2lip", "expert"])
def test_norms_are_in_the_convolutions(name):
    """In double precision, where nothing else makes a difference."""
    net, mel = lips.checkpoint(name).build(dtype=torch.float64), torch.randn(1, 1, 80, 16).double()
    faces = torch.rand(1, 15, 48, 96).double() if name == "expert" else inputs(noise(1, 96, 96)).double()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in net.modules())
    found, expected = net(mel, faces), with_norms(name)(mel, faces)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    assert (net(torch.zeros_like(mel), faces)[0] - found[0]).abs().max() > 1e-3  # the sound is heard


def test_the_larger_network_gives_larger_pictures():
    with torch.device("meta"):
        assert Generator(256)(torch.zeros(2, 1, 80, 16), torch.zeros(2, 6, 256, 256)).shape == (2, 3, 256, 256)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_published_files_match_key_for_key_and_shape_for_shape(name):
    if (folder := shared_folder()) is None:
        pytest.skip("the lists of published keys are not here; set JOYHALLO_SHARED to the folder that holds manifests/")
    listed = json.loads(
        (folder / "manifests" / f"manifest_{name.replace('expert', 'wav2lip_expert')}.json").read_text()
    )
    assert published(NETWORKS[name]) == {
        key: tuple(fact["shape"]) for key, fact in listed.items() if not key.endswith(COUNTER)
    }


def test_a_weaker_sound():
    net, faces, mel = lips.checkpoint("wav2lip").build(), inputs(noise(1, 96, 96)), torch.randn(1, 1, 80, 16)
    assert torch.equal(net(mel, faces, 0.0), net(-mel, faces, 0.0))
    assert not torch.equal(net(mel, faces, 0.5), net(mel, faces))


def test_transposed_convolutions_cast_their_weights():
    layer = CastOps.ConvTranspose2d(5, 7, 3, 2, 1, output_padding=1).bfloat16()
    x = torch.randn(2, 5, 9, 8)
    found = layer(x)
    assert found.dtype == torch.float32
    assert torch.equal(found, nn.ConvTranspose2d.forward(layer.float(), x))


# ---- the way in and back


def test_inputs_are_blue_first_and_the_masked_copy_is_first():
    crops = noise(2, 8, 8)
    found = inputs(crops)
    assert found.shape == (2, 6, 8, 8)
    assert torch.equal(found[:, 5], (crops[..., 0].double() / 255).float())  # red
    assert torch.equal(found[:, 3], (crops[..., 2].double() / 255).float())
    assert torch.equal(found[:, :3, :4], found[:, 3:, :4])
    assert (found[:, :3, 4:] == 0).all()


def test_every_byte_is_divided_as_in_double_precision():
    crops = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1).expand(-1, -1, -1, 3)
    assert torch.equal(inputs(crops)[0, 3].flatten(), (torch.arange(256).double() / 255).float())


def test_predictions_are_truncated():
    made = torch.tensor([0.0, 0.999, 1.0]).view(1, 3, 1, 1)
    assert as_crops(made)[0, 0, 0].tolist() == [255, 254, 0]


def test_a_crop_covers_its_box_and_nothing_else():
    frames = noise(2, 40, 50)
    boxes = torch.tensor([[3, 4, 30, 33], [0, 0, 50, 40]])
    crops = cut(frames, boxes, 16)
    assert crops.shape == (2, 16, 16, 3)
    found = pasted(frames, boxes, torch.full_like(crops, 7))
    assert (found[0, 4:33, 3:30] == 7).all()
    assert (found[1] == 7).all()
    found[0, 4:33, 3:30] = frames[0, 4:33, 3:30]
    assert torch.equal(found[0], frames[0])


def test_nothing_to_cut():
    assert cut(torch.zeros(0, 9, 9, 3, dtype=torch.uint8), torch.zeros(0, 4).long(), 96).shape == (0, 96, 96, 3)


# ---- boxes


def test_pads_stop_at_the_borders():
    found = padded(torch.tensor([[5, 6, 90, 70], [20, 30, 60, 50]]), Pads(10, 15, 8, 20), (100, 80))
    assert found.tolist() == [[0, 0, 100, 80], [12, 20, 80, 65]]


def originals(boxes: list[list[int]]) -> list[list[int]]:
    """As the original does it, with NumPy."""
    import numpy as np

    rows = np.array(boxes)
    for i in range(len(rows)):
        window = rows[len(rows) - 5 :] if i + 5 > len(rows) else rows[i : i + 5]
        rows[i] = np.mean(window, axis=0)
    return rows.tolist()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 13])
def test_smoothing_as_the_original_does_it(count):
    boxes = torch.randint(0, 200, (count, 4))
    assert smoothed(boxes).tolist() == originals(boxes.tolist())
    assert torch.equal(smoothed(boxes, "none"), boxes)


def test_centred_smoothing_runs_neither_ahead_nor_behind():
    line = 10 * torch.arange(9)[:, None].expand(-1, 4)
    assert torch.equal(smoothed(line, "centred")[2:-2], line[2:-2])
    assert smoothed(line, "centred")[[0, -1], 0].tolist() == [10, 70]
    assert len(smoothed(line[:0], "centred")) == len(smoothed(line[:0])) == 0
    assert smoothed(line[:1], "centred").tolist() == [[0] * 4]
