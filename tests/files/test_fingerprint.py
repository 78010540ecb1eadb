import hashlib
import os

import pytest
import small
import torch

from joyhallo.files.fingerprint import ENDS, of_file, of_module, of_tensors


def tensors() -> dict[str, torch.Tensor]:
    return {"a": torch.arange(5000.0).reshape(50, 100), "b": torch.tensor(3.0), "c": torch.zeros(0)}


def test_the_same_weights_have_the_same_fingerprint():
    turned = dict(reversed(tensors().items()))
    strided = tensors() | {"a": tensors()["a"].T.contiguous().T}
    assert of_tensors(tensors()) == of_tensors(turned) == of_tensors(strided)
    assert of_module(small.net()) == of_module(small.net())


@pytest.mark.parametrize("place", [0, ENDS - 1, 5000 - ENDS, 4999])
def test_a_number_that_changed_is_seen(place):
    changed = tensors()
    changed["a"].view(-1)[place] += 1e-3
    assert of_tensors(changed) != of_tensors(tensors())


def test_names_shapes_and_dtypes_are_seen():
    known = tensors()
    others = [
        {"z": known["a"], "b": known["b"], "c": known["c"]},
        known | {"a": known["a"].reshape(100, 50)},
        known | {"c": torch.zeros(0, dtype=torch.float16)},
        known | {"b": torch.tensor([3.0])},
        {"a": known["a"], "b": known["b"]},
    ]
    assert len({of_tensors(found) for found in [known, *others]}) == 1 + len(others)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn, torch.int64, torch.bool, torch.complex64])
def test_any_kind_of_number_is_taken(dtype):
    ones, zeros = torch.ones(3000).to(dtype), torch.zeros(3000).to(dtype)
    assert of_tensors({"a": ones}) == of_tensors({"a": ones.clone()}) != of_tensors({"a": zeros})


def test_a_network_with_other_weights_is_another():
    net, other = small.net(), small.net()
    with torch.no_grad():
        next(other.denoising_unet.parameters()).mul_(1.001)
    assert of_module(net) != of_module(other)


def test_a_file_that_changed_is_read_again(tmp_path):
    file = tmp_path / "net.pth"
    for content in (b"one", b"another"):
        file.write_bytes(content)
        assert of_file(file).result() == hashlib.sha256(content).hexdigest()
    assert of_file(file) is of_file(file)


def test_a_file_of_another_length_is_read_again_however_quickly_it_came(tmp_path):
    """Clocks of some disks tell times apart by two seconds alone."""
    file = tmp_path / "net.pth"
    for content in (b"one", b"another"):
        file.write_bytes(content)
        os.utime(file, (1, 1))
        assert of_file(file).result() == hashlib.sha256(content).hexdigest()
