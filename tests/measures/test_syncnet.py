"""SyncNet, against the original's layers as its specification lists them; and files of it, good and bad."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from joyhallo.files.contents import WeightsError
from joyhallo.measures import syncnet
from joyhallo.measures.syncnet import Watching, heard, open_syncnet, windows_shown
from joyhallo.sound.mfcc import mfcc


class Original(nn.Module):
    """With norms, and with time as a dimension."""

    def __init__(self):
        super().__init__()
        self.netcnnaud = nn.Sequential(
            *self.stage(nn.Conv2d(1, 64, 3, padding=1)),
            nn.MaxPool2d(1, 1),
            *self.stage(nn.Conv2d(64, 192, 3, padding=1)),
            nn.MaxPool2d(3, (1, 2)),
            *self.stage(nn.Conv2d(192, 384, 3, padding=1)),
            *self.stage(nn.Conv2d(384, 256, 3, padding=1)),
            *self.stage(nn.Conv2d(256, 256, 3, padding=1)),
            nn.MaxPool2d(3, 2),
            *self.stage(nn.Conv2d(256, 512, (5, 4))),
        )
        self.netcnnlip = nn.Sequential(
            *self.stage(nn.Conv3d(3, 96, (5, 7, 7), (1, 2, 2))),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *self.stage(nn.Conv3d(96, 256, (1, 5, 5), (1, 2, 2), (0, 1, 1))),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
            *self.stage(nn.Conv3d(256, 256, (1, 3, 3), padding=(0, 1, 1))),
            *self.stage(nn.Conv3d(256, 256, (1, 3, 3), padding=(0, 1, 1))),
            *self.stage(nn.Conv3d(256, 256, (1, 3, 3), padding=(0, 1, 1))),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *self.stage(nn.Conv3d(256, 512, (1, 6, 6))),
        )
        self.netfcaud, self.netfclip = (
            nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 1024)) for _ in range(2)
        )

    @staticmethod
    def stage(convolution):
        norm = nn.BatchNorm2d if isinstance(convolution, nn.Conv2d) else nn.BatchNorm3d
        return convolution, norm(convolution.out_channels), nn.ReLU()

    def see(self, crops):
        """Each window by itself."""
        bgr = crops.flip(3).permute(3, 0, 1, 2).float()
        windows = torch.stack([bgr[:, start : start + 5] for start in range(bgr.shape[1] - 4)])
        return self.netfclip(self.netcnnlip(windows).flatten(1))

    def hear(self, cepstra, windows):
        parts = [cepstra[4 * start : 4 * start + 20].T for start in range(windows)]
        return self.netfcaud(self.netcnnaud(torch.stack(parts)[:, None].float()).flatten(1))


@pytest.fixture(scope="module")
def original():
    torch.manual_seed(3)
    net = Original().requires_grad_(False).eval()
    for key, tensor in net.state_dict().items():
        if "running_" in key or (tensor.ndim == 1 and key.endswith("weight")):
            tensor.uniform_(0.5, 2)
        elif tensor.ndim > 1:
            nn.init.kaiming_normal_(tensor)  # else what differs from window to window fades
    for norm in net.netcnnlip[1], net.netcnnaud[1]:  # whose inputs are as large as bytes are
        norm.running_var.mul_(1000)
    return net


@pytest.fixture(scope="module")
def file(original, tmp_path_factory):
    path = tmp_path_factory.mktemp("syncnet") / "syncnet_v2.model"
    torch.save(original.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def net(file):
    return open_syncnet(file).build()


@pytest.fixture(scope="module")
def crops():
    return torch.randint(0, 256, (11, 224, 224, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def watched(net, pieces):
    watching = Watching(net)
    for piece in pieces:
        watching.see(piece)
    return watching.features


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * expected.abs().max().item())


def test_it_sees_as_the_original(original, net, crops):
    expected = original.see(crops)
    assert expected.std(0).mean() > 1e-3  # it tells one window from another
    close(watched(net, [crops]), expected)
    assert (watched(net, [crops.flip(3)]) - expected).abs().max() > 1e-2 * expected.abs().max()


def test_it_hears_as_the_original(original, net):
    samples = torch.randint(-9000, 9000, (640 * 15 + 77,), dtype=torch.int16)
    close(heard(net, samples, 10), original.hear(mfcc(samples), 10))


@pytest.mark.parametrize("length", [1, 3, 4, 5, 10])
def test_a_film_in_pieces_is_seen_as_a_whole(net, crops, length, monkeypatch):
    whole = watched(net, [crops])
    monkeypatch.setattr(syncnet, "AT_ONCE", 2)
    found = watched(net, crops.split(length))
    assert found.shape == (7, 1024)
    close(found, whole)


@pytest.mark.parametrize("count", [0, 1, 4])
def test_four_frames_have_no_window(net, crops, count):
    assert watched(net, crops[:count].split(1)).shape == (0, 1024)


@pytest.mark.parametrize("other", [torch.zeros(5, 96, 96, 3, dtype=torch.uint8), torch.zeros(5, 224, 224, 3)])
def test_other_pictures_are_refused(net, other):
    with pytest.raises(ValueError, match="expected bytes"):
        Watching(net).see(other)


def test_windows_share_their_numbers(crops):
    windows = windows_shown(crops)
    assert windows.shape == (7, 15, 224, 224)
    assert windows.untyped_storage().nbytes() == 11 * 3 * 224 * 224 * 4
    assert windows[3, 7, 10, 20] == crops[5, 10, 20, 1]
    assert windows[3, 6, 10, 20] == crops[5, 10, 20, 2]


def test_the_network_is_made_ready_before_each_use(net, crops):
    used = []

    def ready(network):
        used.append(network)
        return network

    watching = Watching(net, ready=ready)
    watching.see(crops[:6])
    watching.see(crops[6:])
    assert used == [net, net]


# ---- files

STATISTICS = 8_640  # of BatchNorm


def bare_of_2020(path, state):
    torch.save(state, path, _use_new_zipfile_serialization=False)


def without_counters(path, state):
    torch.save({key: tensor for key, tensor in state.items() if not key.endswith("num_batches_tracked")}, path)


def parallel(path, state):
    torch.save({"state_dict": {f"module.{key}": tensor for key, tensor in state.items()}, "epoch": 3}, path)


@pytest.mark.parametrize(
    "write", [bare_of_2020, without_counters, parallel, lambda path, state: save_file(state, path)],
    ids=["2020", "without counters", "module", "safetensors"],
)  # fmt: skip
def test_every_form_gives_the_same_network(tmp_path, original, net, write):
    write(tmp_path / "syncnet_v2.model", original.state_dict())
    found = open_syncnet(tmp_path / "syncnet_v2.model")
    assert found.parameters == 13_631_616 + STATISTICS
    for key, tensor in found.build().state_dict().items():
        assert torch.equal(tensor, net.state_dict()[key]), key


def complaint(path) -> str:
    with pytest.raises(WeightsError) as caught:
        open_syncnet(path)
    assert path.name in str(caught.value)
    return str(caught.value)


def test_failed_downloads(tmp_path, file):
    page, cut = tmp_path / "page.model", tmp_path / "cut.model"
    page.write_bytes(b"<!DOCTYPE html><html>" + bytes(50_000))
    assert "is a web page" in complaint(page)
    cut.write_bytes(file.read_bytes()[:1_000_000])
    assert "damaged or incomplete" in complaint(cut)
    assert "does not exist" in complaint(tmp_path / "none.model")


def test_a_whole_module_is_never_run(tmp_path, original):
    torch.save(original, tmp_path / "module.model")
    assert "Expected SyncNet, syncnet_v2.model" in complaint(tmp_path / "module.model")


def test_other_networks_are_named(tmp_path):
    save_file({"lora_up.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    assert "looks like a LoRA. Expected SyncNet, syncnet_v2.model." in complaint(tmp_path / "other.safetensors")


def test_what_does_not_fit(tmp_path, original):
    state, key = original.state_dict(), "netcnnlip.5.running_mean"
    torch.save({name: tensor for name, tensor in state.items() if name != key}, tmp_path / "a.model")
    assert f"1 missing ({key})" in complaint(tmp_path / "a.model")
    torch.save({**state, "netfclip.4.weight": torch.zeros(3)}, tmp_path / "b.model")
    assert "1 unknown (netfclip.4.weight)" in complaint(tmp_path / "b.model")
    torch.save({**state, "netcnnlip.4.weight": torch.zeros(256, 96, 5, 5)}, tmp_path / "c.model")
    assert "1 of another shape (netcnnlip.4.weight)" in complaint(tmp_path / "c.model")
    torch.save({**state, key: torch.zeros(256, dtype=torch.int32)}, tmp_path / "d.model")
    assert f"holds whole numbers ({key})" in complaint(tmp_path / "d.model")
