"""Files of weights told apart by the names in them, without a tensor being read or anything being run."""

import json
import pickle
import tracemalloc
import zipfile

import pytest
import torch
from safetensors.torch import save_file
from shared import shared_folder
from torch import nn

from joyhallo.files.contents import WeightsError, contents
from joyhallo.files.weights import open_weights
from joyhallo.methods import METHODS, kind_of, looks_like, method_of

KEPT = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


class Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3)
        self.norm = nn.BatchNorm2d(5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x))


class Outer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Sequential(Inner(), nn.ReLU()), Inner()])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return x


def shapes(state):
    return {key: tuple(tensor.shape) for key, tensor in state.items()}


@KEPT
def test_the_index_tells_what_loading_tells(tmp_path, zipped):
    state, path = Outer().state_dict(), tmp_path / "net.pth"
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    assert contents(path).shapes == shapes(state) == shapes(open_weights(path, "weights")[0])


@KEPT
def test_what_a_trainer_puts_around_the_weights_is_taken_away(tmp_path, zipped):
    state, path = Outer().state_dict(), tmp_path / "net.pth"
    steps = torch.optim.Adam(Outer().parameters()).state_dict()
    torch.save({"state_dict": state, "optimizer": steps}, path, _use_new_zipfile_serialization=zipped)
    assert contents(path).shapes == shapes(state)


@KEPT
def test_parameters_halves_and_views_have_their_shapes(tmp_path, zipped):
    whole = torch.arange(24.0).reshape(4, 6)
    state = {"a": nn.Parameter(whole), "b": whole[1:, ::2], "c": whole.half(), "d": torch.zeros(()), "step": 3}
    torch.save(state, tmp_path / "net.pth", _use_new_zipfile_serialization=zipped)
    told = {"a": (4, 6), "b": (3, 3), "c": (4, 6), "d": (), "step": None}
    assert contents(tmp_path / "net.pth").shapes == told


def test_torchscript_is_walked_through(tmp_path):
    torch.jit.script(Outer()).save(tmp_path / "net.pt")
    named = {key: shape for key, shape in contents(tmp_path / "net.pt").shapes.items() if shape is not None}
    assert named == shapes(Outer().state_dict())


@pytest.mark.filterwarnings("ignore")
def test_torchscript_gives_its_weights_without_being_run(tmp_path, monkeypatch):
    net = Outer()
    net.blocks[1].conv.weight = nn.Parameter(torch.randn(5, 3, 3, 3).half().transpose(2, 3), requires_grad=False)
    torch.jit.script(net).save(tmp_path / "net.pt")
    monkeypatch.setattr(torch.jit, "load", None)
    monkeypatch.setattr(torch, "load", None)
    state, _ = open_weights(tmp_path / "net.pt", "weights")
    assert state.keys() == net.state_dict().keys()
    for key, tensor in net.state_dict().items():
        assert torch.equal(state[key], tensor), key
        assert state[key].dtype == tensor.dtype


def test_a_torchscript_archive_with_a_changed_number(tmp_path):
    """Its checksum tells."""
    net, path = nn.Linear(300, 2), tmp_path / "net.pt"
    torch.jit.script(net).save(path)
    numbers = net.weight.detach().numpy().tobytes()
    path.write_bytes(path.read_bytes().replace(numbers, numbers[:-1] + bytes([numbers[-1] ^ 1])))
    with pytest.raises(WeightsError, match=r"damaged or incomplete TorchScript file.*Expected weights"):
        open_weights(path, "weights")


def test_safetensors_are_told_by_their_header(tmp_path):
    state = Outer().state_dict()
    save_file(state, tmp_path / "net.safetensors", {"joyhallo": "{}"})
    found = contents(tmp_path / "net.safetensors")
    assert found.shapes == shapes(state)
    assert found.header == {"joyhallo": "{}"}


class Marked:
    """An object that leaves a mark where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@KEPT
def test_nothing_in_the_index_is_run(tmp_path, zipped):
    mark = tmp_path / "mark"
    torch.save({"a": torch.zeros(2), "evil": Marked(mark)}, tmp_path / "net.pth", _use_new_zipfile_serialization=zipped)
    mark.unlink(missing_ok=True)
    assert contents(tmp_path / "net.pth").shapes == {"a": (2,), "evil": None}
    assert not mark.exists()


@KEPT
def test_no_tensor_is_read(tmp_path, zipped):
    """Forty megabytes of numbers are told in kilobytes."""
    path = tmp_path / "net.pth"
    torch.save({"a": torch.zeros(100)}, path, _use_new_zipfile_serialization=zipped)
    tracemalloc.start()
    shapes = contents(path).shapes
    assert shapes == {"a": (100,)}
    least = tracemalloc.get_traced_memory()[1]
    torch.save({"a": torch.zeros(10_000_000)}, path, _use_new_zipfile_serialization=zipped)
    tracemalloc.reset_peak()
    assert contents(path).shapes == {"a": (10_000_000,)}
    assert tracemalloc.get_traced_memory()[1] < 2 * least + 1_000_000
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS pointer"),
        (b"hello", "neither a PyTorch file nor a safetensors file"),
        (b"\x80\x02garbage", "damaged or incomplete"),
        (b"PK\x03\x04garbage", "damaged or incomplete"),
        ((10).to_bytes(8, "little") + b"{not json}", "damaged or incomplete"),
        ((7).to_bytes(8, "little") + b'{"a":1}', "damaged or incomplete"),
        ((8).to_bytes(8, "little") + b'{"a":{}}', "damaged or incomplete"),
        (pickle.dumps([1, 2, 3]), None),
    ],
)
def test_what_is_no_file_of_weights_is_said_in_a_sentence(tmp_path, content, words):
    path = tmp_path / "net.pth"
    path.write_bytes(content)
    if words is None:
        assert contents(path).shapes == {}
        return
    with pytest.raises(WeightsError, match=words):
        contents(path)


@KEPT
@pytest.mark.parametrize(
    "state", [{1: torch.zeros(1)}, [torch.zeros(1)], torch.zeros(1)], ids=["numbers", "list", "one"]
)
def test_tensors_without_names_are_refused(tmp_path, state, zipped):
    torch.save(state, tmp_path / "net.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match=r"without names of tensors\. Expected weights"):
        open_weights(tmp_path / "net.pth", "weights")


def test_a_file_that_ends_at_once_is_said(tmp_path):
    (tmp_path / "net.pth").write_bytes(b"\x80\x02")
    with pytest.raises(WeightsError, match="damaged or incomplete PyTorch file"):
        open_weights(tmp_path / "net.pth", "weights")


class Shared:
    """A module that holds the next one twelve times over."""

    def __init__(self, inner):
        self.inner = inner

    def __reduce__(self):
        return (Shared, (None,), dict.fromkeys(map(str, range(12)), self.inner))


def test_an_index_that_names_without_end_is_given_up(tmp_path):
    module = {"weight": torch.zeros(1)}
    for _ in range(30):
        module = Shared(module)
    torch.save({"net": module}, tmp_path / "net.pth")
    with pytest.raises(WeightsError, match="names more than 50000 things"):
        contents(tmp_path / "net.pth")


def test_a_pickle_that_is_no_index_is_not_read_whole(tmp_path):
    with (tmp_path / "net.pth").open("wb") as file:
        file.write(b"\x80\x04\x8e" + (1 << 33).to_bytes(8, "little"))
        file.truncate(1 << 33)  # takes no room on the disk
    with pytest.raises(WeightsError, match="its index takes more than 4 MB"):
        contents(tmp_path / "net.pth")


def test_a_header_of_too_many_tensors_is_refused(tmp_path):
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    header = json.dumps({str(number): empty for number in range(50_001)}).encode()
    (tmp_path / "net.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(WeightsError, match="names 50001 tensors"):
        contents(tmp_path / "net.safetensors")


def test_an_archive_without_an_index(tmp_path):
    with zipfile.ZipFile(tmp_path / "net.pth", "w") as archive:
        archive.writestr("a/b.txt", "nothing")
    with pytest.raises(WeightsError, match="without PyTorch's index"):
        contents(tmp_path / "net.pth")


@KEPT
def test_a_pickle_may_be_named_safetensors(tmp_path, zipped):
    """Content tells, not the name."""
    state, path = Outer().state_dict(), tmp_path / "net.safetensors"
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    found, _ = open_weights(path, "weights")
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], state[key]) for key in state)


# ---- the table of methods


def named(*keys):
    return dict.fromkeys(keys)


KNOWN = {
    "manifest_joyhallo_net": "a JoyHallo checkpoint",
    "manifest_hallo_net": "a Hallo checkpoint",
    "manifest_wav2lip": "a Wav2Lip generator",
    "manifest_wav2lip256": "a Wav2Lip generator of 256 pixels",
    "manifest_wav2lip_expert": "Wav2Lip's sync expert",
    "manifest_wav2lip_disc": "Wav2Lip's discriminator",
    "manifest_syncnet": "a SyncNet, which measures lip sync",
    "manifest_vae": "an autoencoder (VAE), which belongs in the VAE's place",
    "manifest_wav2vec2_base": "a wav2vec2 speech encoder, which belongs in the audio encoder's place",
}


@pytest.mark.parametrize("manifest", KNOWN)
def test_published_files_are_told_apart(manifest):
    shared = shared_folder()
    if shared is None:
        pytest.skip("the lists of published keys are not here; set JOYHALLO_SHARED to the folder that holds manifests/")
    keys = json.loads((shared / "manifests" / f"{manifest}.json").read_text())
    assert looks_like(keys.get("tensors", keys)) == KNOWN[manifest]


def test_a_method_is_recognised_by_its_file(tmp_path):
    save_file({"face_decoder_blocks.0.weight": torch.zeros(1)}, tmp_path / "wav2lip.safetensors")
    assert method_of(tmp_path / "wav2lip.safetensors").name == "Wav2Lip"
    with pytest.raises(
        WeightsError, match=r"looks like a Wav2Lip generator\. Expected a checkpoint of JoyHallo or Hallo\.$"
    ):
        method_of(tmp_path / "wav2lip.safetensors", "portrait")
    save_file({"binary_pred.0.weight": torch.zeros(1)}, tmp_path / "disc.safetensors")
    with pytest.raises(
        WeightsError, match=r"Wav2Lip's discriminator\. Expected .* Wav2Lip 256, MuseTalk, LatentSync or Ultralight\.$"
    ):
        method_of(tmp_path / "disc.safetensors")
    five = ("reference_unet", "denoising_unet", "face_locator", "imageproj", "audioproj")
    save_file({f"{name}.x": torch.zeros(1) for name in five}, tmp_path / "net.safetensors")
    method = method_of(tmp_path / "net.safetensors")
    assert method.name == "JoyHallo"
    assert kind_of(tmp_path / "net.safetensors") is method.checkpoint


def test_every_method_can_be_opened():
    for method in METHODS:
        assert callable(method.open)
        assert method.licence
