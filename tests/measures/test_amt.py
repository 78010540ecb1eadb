"""AMT-S: its parts against plain transcriptions, its file, its bounds, and what VBench's own code made of it."""

import math

import hostile
import numpy as np
import pytest
import torch
from parity_vbench import glide, network, shown, state_of
from safetensors.torch import save_file
from scipy.ndimage import map_coordinates
from torch.nn import functional as F

from joyhallo.files.contents import WeightsError
from joyhallo.measures import amt
from joyhallo.measures.amt import AMT, Both, Comparison, open_amt, warped
from joyhallo.measures.streamed import MeasureError
from joyhallo.measures.vbench import Smoothness, steadiness

STATE = state_of("amt_s", "")


@pytest.fixture
def net() -> AMT:
    return network("amt_s", "")


# ---- the whole, as VBench's own code answered with the same seeded weights


@pytest.mark.parametrize(
    ("name", "count", "size", "step", "apart", "score"),
    [
        ("three", 3, [135, 201], [0, 0.0], [8.131490707397461], 0.9681118130683899),
        ("eight", 8, [128, 128], [0.5, -3.0], [9.15875244140625, 9.303935050964355, 9.144429206848145],
         0.9639122486114502),
    ],
)  # fmt: skip
def test_smoothness_is_that_of_vbench(net, name, count, size, step, apart, score):
    measure = shown(Smoothness(net), glide(f"amt.{name}", count, size, step))
    assert np.abs(measure.series.numpy() - apart).max() < 5e-4
    assert abs(steadiness(measure.series) - score) < 2e-6


@torch.no_grad()
def test_pictures_do_not_notice_each_other(net):
    some, others = torch.rand(2, 3, 128, 144), torch.rand(2, 3, 128, 144)
    both = net(some, others)
    for number in range(2):
        alone = net(some[number : number + 1], others[number : number + 1])
        assert (both.picture[number] - alone.picture[0]).abs().max() < 1e-4
        assert all(
            (together[number] - flow[0]).abs().max() < 1e-3
            for together, flow in zip(both.flows, alone.flows, strict=True)
        )


@pytest.mark.parametrize(("height", "width", "said"), [(112, 640, "640x112 pixels are too small"), (8, 8, "8x8")])
def test_frames_that_it_has_no_answer_for_are_refused_before_work(height, width, said):
    measure = Smoothness(None)  # type: ignore[arg-type]  # which would fail if it was asked
    with pytest.raises(MeasureError, match=said):
        measure.see(torch.zeros(3, height, width, 3, dtype=torch.uint8))
    with pytest.raises(MeasureError, match=said):
        AMT()(torch.zeros(1, 3, height, width), torch.zeros(1, 3, height, width))


@torch.no_grad()
def test_the_smallest_that_it_takes_has_numbers(net):
    measure = Smoothness(net)
    measure.see(torch.randint(256, (3, 113, 120, 3), dtype=torch.uint8))
    assert measure.series.isfinite().all()
    with pytest.raises(ValueError, match="pad each side to a multiple of 16"):
        net(torch.zeros(1, 3, 136, 128), torch.zeros(1, 3, 136, 128))


# ---- comparisons


def looked_up(one: np.ndarray, other: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Plainly: each place of one map with each of the other, averaged in squares, and interpolated, 0 outside."""
    channels, rows, columns = one.shape
    found = np.zeros((4, 7, 7, rows, columns))
    for y in range(rows):
        for x in range(columns):
            level = np.einsum("c,chw->hw", one[:, y, x], other) / math.sqrt(channels)
            for number in range(4):
                at_x, at_y = places[:, y, x] / 2**number
                for i in range(7):
                    for j in range(7):
                        found[number, i, j, y, x] = at(level, at_x + i - 3, at_y + j - 3)
                height, width = level.shape[0] // 2, level.shape[1] // 2
                level = level[: 2 * height, : 2 * width].reshape(height, 2, width, 2).mean((1, 3))
    return found.reshape(-1, rows, columns)


def at(level: np.ndarray, x: float, y: float) -> float:
    found = 0.0
    for row in math.floor(y), math.floor(y) + 1:
        for column in math.floor(x), math.floor(x) + 1:
            if 0 <= row < level.shape[0] and 0 <= column < level.shape[1]:
                found += level[row, column] * (1 - abs(x - column)) * (1 - abs(y - row))
    return found


def test_what_is_around_a_place_is_looked_up():
    one, other = torch.randn(5, 16, 18), torch.randn(5, 16, 18)
    places = 20 * torch.rand(2, 16, 18) - 2
    found = Comparison(one, other).look_up(places)
    expected = looked_up(one.double().numpy(), other.double().numpy(), places.double().numpy())
    assert found.shape == expected.shape == (196, 16, 18)
    assert np.abs(found.numpy() - expected).max() < 1e-4


def test_both_ways_are_looked_up_from_where_a_place_is():
    one, other = torch.randn(1, 5, 16, 16), torch.randn(1, 5, 16, 16)
    there, back = torch.randn(2, 1, 2, 16, 16)
    found = Both.of(one, other).look_up(there, back)[0]
    x, y = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="xy")
    for part, (some, others, flow) in zip(found.split(196), [(one, other, there), (other, one, back)], strict=True):
        expected = Comparison(some[0], others[0]).look_up(torch.stack([x, y]) + flow[0])
        assert torch.equal(part, expected)


def test_large_maps_are_compared_part_by_part(monkeypatch):
    one, other, places = torch.randn(5, 16, 20), torch.randn(5, 16, 20), 20 * torch.rand(2, 16, 20)
    whole = Comparison(one, other)
    assert len(whole.parts) == len(whole.kept) == 1
    expected = whole.look_up(places)
    monkeypatch.setattr(amt, "LARGEST_PART", 320 * 7)
    monkeypatch.setattr(amt, "LARGEST_KEPT", 0)
    parts = Comparison(one, other)
    assert parts.kept is None
    assert max(parts.compared(part)[0].numel() for part in parts.parts) == 320 * 7
    for _ in range(2):
        assert (parts.look_up(places) - expected).abs().max() < 1e-5


# ---- layers


def test_pictures_are_brought_where_the_flow_leads():
    picture, flow = torch.randn(1, 2, 9, 13), 4 * torch.randn(1, 2, 9, 13)
    y, x = np.mgrid[:9, :13]
    places = np.stack([y + flow[0, 1].numpy(), x + flow[0, 0].numpy()])
    expected = [map_coordinates(channel.double().numpy(), places, order=1, mode="nearest") for channel in picture[0]]
    assert np.abs(warped(picture, flow)[0].numpy() - np.stack(expected)).max() < 1e-4


def part(name: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(name): tensor for key, tensor in STATE.items() if key.startswith(name)}


def convolved(x: torch.Tensor, weights: dict[str, torch.Tensor], name: str, stride: int = 1) -> torch.Tensor:
    weight = weights[f"{name}.weight"]
    return F.conv2d(x, weight, weights[f"{name}.bias"], stride, weight.shape[2] // 2)


def test_bottlenecks(net):
    def normed(x: torch.Tensor) -> torch.Tensor:
        mean, variance = x.mean((2, 3), keepdim=True), x.var((2, 3), unbiased=False, keepdim=True)
        return (x - mean) / (variance + 1e-5).sqrt()

    for name, channels, stride in ("layer2.0", 32, 2), ("layer3.1", 96, 1):
        x, weights = torch.randn(1, channels, 16, 20), part(f"feat_encoder.{name}.")
        found = net.get_submodule(f"feat_encoder.{name}")(x)
        y = normed(convolved(x, weights, "conv1")).relu()
        y = normed(convolved(y, weights, "conv2", stride)).relu()
        y = normed(convolved(y, weights, "conv3")).relu()
        x = normed(convolved(x, weights, "downsample.0", 2)) if stride == 2 else x
        assert (found - (x + y).relu()).abs().max() < 1e-4


def sloped(x: torch.Tensor, weights: dict[str, torch.Tensor], name: str) -> torch.Tensor:
    return torch.where(x > 0, x, weights[f"{name}.weight"][:, None, None] * x)


def test_decoders(net):
    x, weights = torch.randn(1, 136, 8, 9), part("decoder3.convblock.")
    found = net.decoder3(x[:, :100], x[:, 100:])
    x = y = sloped(convolved(x, weights, "0.0"), weights, "0.1")
    for whole, last in ("1.conv1", "1.conv2"), ("1.conv3", "1.conv4"):
        y = sloped(convolved(y, weights, f"{whole}.0"), weights, f"{whole}.1")
        y[:, -20:] = sloped(convolved(y[:, -20:].clone(), weights, f"{last}.0"), weights, f"{last}.1")
    x = sloped(x + convolved(y, weights, "1.conv5"), weights, "1.prelu")
    expected = F.conv_transpose2d(x, weights["2.weight"], weights["2.bias"], 2, 1)
    assert found.shape == (1, 36, 16, 18)
    assert (found - expected).abs().max() < 1e-5


def test_updates(net):
    feature, flows, weights = torch.randn(1, 20, 64, 72), torch.randn(1, 4, 64, 72), part("update2.")
    alike = Both.of(*torch.randn(2, 1, 84, 16, 18))
    found_feature, found_flows = net.update2(feature, flows, alike, 0.25)

    def leaky(x: torch.Tensor) -> torch.Tensor:
        return torch.where(x > 0, x, 0.1 * x)

    def head(x: torch.Tensor, name: str) -> torch.Tensor:
        return convolved(leaky(convolved(x, weights, f"{name}.0")), weights, f"{name}.2")

    def shrunk(x: torch.Tensor) -> torch.Tensor:  # halves of pixels 4 n + 1 and 4 n + 2
        return sum(x[..., row::4, column::4] for row in (1, 2) for column in (1, 2)) / 4

    coarse = shrunk(flows) / 4
    seen = alike.look_up(coarse[:, 2:] / 0.25, coarse[:, :2] / 0.75)
    moved = leaky(convolved(leaky(convolved(coarse, weights, "convf1")), weights, "convf2"))
    x = leaky(convolved(torch.cat([leaky(convolved(seen, weights, "convc1")), moved], 1), weights, "conv"))
    x = head(torch.cat([x, coarse, shrunk(feature)], 1), "gru")
    grown = torch.nn.Upsample(scale_factor=4, mode="bilinear")
    assert (found_feature - feature - grown(head(x, "feat_head"))).abs().max() < 1e-4
    assert (found_flows - flows - 4 * grown(head(x, "flow_head"))).abs().max() < 1e-4


# ---- the file


def test_files_as_people_have_them(tmp_path):
    torch.save({"state_dict": STATE}, tmp_path / "amt-s.pth")
    torch.save({f"module.{key}": tensor for key, tensor in STATE.items()}, tmp_path / "parallel.pth")
    save_file(STATE, tmp_path / "amt.safetensors")
    for name in "amt-s.pth", "parallel.pth", "amt.safetensors":
        built = open_amt(tmp_path / name).build().state_dict()
        assert built.keys() == STATE.keys()
        assert all(torch.equal(built[key], STATE[key]) for key in STATE)
    assert sum(tensor.numel() for tensor in STATE.values()) == 2_990_543


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"comb_block.0.weight": torch.zeros(30, 15, 3, 3)}, r"1 of another shape \(comb_block\.0\.weight\)"),
        ({"update4.gru.0.bias": None}, r"1 missing \(update4\.gru\.0\.bias\)"),
        ({"decoder5.weight": torch.zeros(1)}, r"1 unknown \(decoder5\.weight\)"),
        ({"comb_block.1.weight": torch.zeros(18, dtype=torch.int64)}, "whole numbers"),
        ({key: None for key in STATE if key.startswith("feat_encoder")}, "Expected AMT-S, amt-s.pth"),
    ],
)
def test_files_that_do_not_fit(tmp_path, changed, said):
    state = {key: tensor for key, tensor in {**STATE, **changed}.items() if tensor is not None}
    torch.save({"state_dict": state}, tmp_path / "amt-s.pth")
    with pytest.raises(WeightsError, match=said):
        open_amt(tmp_path / "amt-s.pth")


@pytest.mark.filterwarnings("ignore")
def test_nothing_in_a_file_is_run(tmp_path):
    mark, small = tmp_path / "ran", {"comb_block.1.weight": torch.zeros(18), "feat_encoder.conv1.bias": torch.zeros(32)}
    for number, case in enumerate([*hostile.with_code(small, mark), *hostile.other_contents()]):
        path = tmp_path / f"{number}-{case.name}"
        case.write(path)
        mark.unlink(missing_ok=True)  # to write some of them runs their code
        with pytest.raises(WeightsError, match="Expected AMT-S"):
            open_amt(path)
        assert not mark.exists()
