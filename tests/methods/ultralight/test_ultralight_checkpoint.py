"""Files of Ultralight-Digital-Human in the shapes that people have them in, and what is said of files that are none."""

import hostile
import people
import pytest
import torch
from safetensors.torch import save_file

from joyhallo.convert import convert
from joyhallo.files.contents import WeightsError
from joyhallo.methods import METHODS, kind_of, method_of
from joyhallo.methods.ultralight.checkpoint import open_checkpoint, todays
from joyhallo.methods.ultralight.network import HUBERT, WENET, Sizes

METHOD = next(method for method in METHODS if method.name == "Ultralight")


@pytest.fixture(scope="module")
def state():
    return people.drawn()


def training(path, state):
    adam = {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 1e-3}]}
    torch.save({"epoch": 199, "model": state, "optimizer": adam}, path)


FORMS = {
    "epoch_199.pth": training,
    "195.pth": lambda path, state: torch.save(state, path),
    "old.pth": lambda path, state: torch.save(people.old_spelling(state), path),
    "ultralight.pth": lambda path, state: training(path, people.old_spelling(state)),
    "parallel.pth": lambda path, state: torch.save({f"module.{key}": value for key, value in state.items()}, path),
    "me.safetensors": lambda path, state: save_file(state, path),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_person(tmp_path, state, name):
    FORMS[name](tmp_path / name, state)
    assert method_of(tmp_path / name, "redub") is METHOD
    found = METHOD.open(tmp_path / name)
    assert found.dtype == torch.float32
    net, faces, heard = found.build(), torch.rand(1, 6, 160, 160), torch.randn(1, 16, 32, 32)
    save_file(state, tmp_path / "expected.safetensors")
    expected = open_checkpoint(tmp_path / "expected.safetensors").build()
    assert torch.equal(net(heard, faces), expected(heard, faces))
    assert METHOD.open(tmp_path / name).build(dtype=torch.float16).outc.conv.weight.dtype == torch.float16


def test_both_spellings_of_all_keys(state):
    old = people.old_spelling(state)
    assert len(old.keys() - state.keys()) == 4 * 2 * 3 * 6 + 3 * 6, "four halvings and the first layer"
    assert [todays(key) for key in old] == list(state)
    assert [todays(key) for key in state] == list(state)


@pytest.mark.parametrize("sizes", [Sizes(), Sizes(HUBERT, 16), Sizes(HUBERT, 3)], ids=str)
def test_sizes_are_those_of_the_weights(tmp_path, sizes):
    torch.save(people.drawn(sizes), tmp_path / "person.pth")
    assert open_checkpoint(tmp_path / "person.pth").build().sizes == sizes


def test_who_made_the_weights_decides_on_their_use():
    assert METHOD.licence == (
        "code: called Apache-2.0, but without a licence file; weights: ask who trained them, and the person shown"
    )
    assert METHOD.parts == ("hubert",)


# ---- what is refused


def complaint(path) -> str:
    with pytest.raises(WeightsError) as caught:
        open_checkpoint(path)
    assert path.name in str(caught.value)
    assert "Expected a generator of Ultralight-Digital-Human" in str(caught.value) or "download it" in str(caught.value)
    return str(caught.value)


def test_wenet_is_refused_in_a_sentence(tmp_path):
    training(tmp_path / "wenet.pth", people.drawn(Sizes(WENET, 4)))
    assert method_of(tmp_path / "wenet.pth", "redub") is METHOD
    said = complaint(tmp_path / "wenet.pth")
    assert "was trained with --asr wenet, whose speech encoder is not available here" in said
    assert "--asr hubert. Train it again with HuBERT." in said


def changed(state, key: str, tensor: torch.Tensor | None) -> dict[str, torch.Tensor]:
    return {name: value for name, value in (state | {key: tensor}).items() if value is not None}


@pytest.mark.parametrize(
    ("key", "tensor", "said"),
    [
        ("outc.conv.bias", None, r"not all of its tensors fit: 1 missing (outc.conv.bias)"),
        ("up2.conv.double_conv.0.conv.3.weight", torch.zeros(1, 1, 3, 3), "1 of another shape"),
        ("up5.conv.weight", torch.zeros(1), "1 unknown (up5.conv.weight)"),
        ("audio_model.bn5.running_var", None, "but KeyError: 'audio_model.bn5.running_var'"),
        ("inc.inconv.conv.1.weight", torch.zeros(3), "looks like a generator of Ultralight-Digital-Human, but"),
        ("inc.inconv.conv.6.weight", torch.zeros(1, 1, 1, 1), "not all of its tensors fit"),
        ("audio_model.conv1.conv.0.weight", torch.zeros(8, 32, 1, 1), "it hears 32 channels, where HuBERT has 16"),
        ("up1.conv.double_conv.0.conv.0.weight", torch.zeros(2, 2, dtype=torch.int64), "holds whole numbers"),
    ],
)
def test_a_damaged_file_is_told_from_a_person(tmp_path, state, key, tensor, said):
    torch.save(changed(state, key, tensor), tmp_path / "person.pth")
    assert said in complaint(tmp_path / "person.pth")


def test_hostile_files_in_a_persons_place(tmp_path, state):
    """tests/files/test_hostile.py has all others."""
    mark = tmp_path / "run"
    for case in (*hostile.with_code(state, mark), *hostile.odd_tensors(state)):
        case.write(tmp_path / case.name)
        with pytest.raises(WeightsError, match=r"\w"):
            open_checkpoint(tmp_path / case.name)
    assert not mark.exists()


def test_other_networks_are_named_in_a_persons_place(tmp_path):
    save_file({"binary_pred.0.weight": torch.zeros(1)}, tmp_path / "disc.safetensors")
    assert "looks like Wav2Lip's discriminator" in complaint(tmp_path / "disc.safetensors")
    torch.save({"hubert.feature_extractor.conv_layers.0.conv.weight": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    assert "a HuBERT speech encoder, which redub methods find" in complaint(tmp_path / "pytorch_model.bin")


def test_a_model_of_fairseq_is_still_known_by_what_lies_beside_it(tmp_path):
    torch.save({"args": None, "cfg": {}, "model": {"feature_extractor.x": torch.zeros(1)}}, tmp_path / "a.pt")
    kind = kind_of(tmp_path / "a.pt")
    assert kind is not None
    assert kind.words == "a fairseq training checkpoint"


def test_a_converted_file_is_the_same_network_in_half_precision(tmp_path):
    source, target = tmp_path / "somebody.pth", tmp_path / "somebody.safetensors"
    torch.save({"epoch": 3, "model": people.drawn()}, source)
    convert(source, target, "fp32")
    once, again = (open_checkpoint(path).build().state_dict() for path in (source, target))
    assert all(torch.equal(once[key], again[key]) for key in once)
    convert(source, target, force=True)
    assert open_checkpoint(target).dtype == torch.float16
