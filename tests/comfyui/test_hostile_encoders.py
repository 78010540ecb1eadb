"""Speech encoders in one file: what ComfyUI cannot build, or would build with gaps, is said in a sentence."""

from __future__ import annotations

import hostile
import pytest
import torch
import transformers
from safetensors.torch import save_file

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
KEY = "encoder.layer_norm.bias"  # tells ComfyUI the size


@pytest.fixture(scope="module")
def whole():
    """A whole encoder of ComfyUI's smallest size, by the library's names."""
    with torch.device("meta"):
        model = transformers.Wav2Vec2Model(transformers.Wav2Vec2Config())
    return {name: torch.zeros(tensor.shape, dtype=torch.float16) for name, tensor in model.state_dict().items()}


def old_spelling(name: str) -> str:
    return name.replace("parametrizations.weight.original0", "weight_g").replace(
        "parametrizations.weight.original1", "weight_v"
    )


@pytest.mark.parametrize("spelling", [str, old_spelling, "wav2vec2.{}".format])
def test_a_whole_one_is_taken(pack, whole, tmp_path, spelling):
    path = tmp_path / "whole.safetensors"
    save_file({spelling(name): tensor for name, tensor in whole.items()}, path)
    encoder = pack.nodes.speech_encoder.load_speech_encoder(path, "whole")
    assert all((tensor == 0).all() for tensor in encoder.model.state_dict().values())


def others(whole):
    without = {name: tensor for name, tensor in whole.items() if name != "encoder.layers.7.attention.q_proj.weight"}
    yield hostile.Case("without.safetensors", lambda path: save_file(without, path))
    yield hostile.Case("alone.safetensors", lambda path: save_file({KEY: torch.zeros(768)}, path))
    for size in (7, 1024):
        other = {**whole, KEY: torch.zeros(size)}
        yield hostile.Case(f"size-{size}.safetensors", lambda path, other=other: save_file(other, path))


def test_hostile_ones_are_said_in_a_sentence(pack, whole, tmp_path):
    few, mark = {KEY: torch.zeros(768)}, tmp_path / "mark"
    for case in (*others(whole), *hostile.with_code(few, mark), *hostile.odd_tensors(few)):
        path = tmp_path / case.name
        case.write(path)
        mark.unlink(missing_ok=True)
        with pytest.raises(pack.joyhallo.files.contents.WeightsError) as caught:
            pack.nodes.speech_encoder.load_speech_encoder(path, "some")
        assert case.name in str(caught.value)
        assert "xpected a wav2vec2 encoder in one file" in str(caught.value)
        assert not mark.exists()
        path.unlink()
