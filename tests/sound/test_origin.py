"""Which published encoder a folder holds, for files as transformers itself writes them."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from joyhallo.sound.origin import CHINESE, ENGLISH
from joyhallo.sound.wav2vec2 import load_encoder

transformers = pytest.importorskip("transformers")

SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 32,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "codevector_dim": 16,
    "proj_codevector_dim": 16,
}
WHOLE = {"recognising": "Wav2Vec2ForCTC", "guessing": "Wav2Vec2ForPreTraining", "alone": "Wav2Vec2Model"}


@pytest.fixture
def written(tmp_path):
    def written(kind: str, normalize: bool | None = None, **facts):
        config = transformers.Wav2Vec2Config(**SIZES, **facts)
        torch.manual_seed(0)
        getattr(transformers, WHOLE[kind])(config).save_pretrained(tmp_path)
        if normalize is not None:
            told = json.dumps({"do_normalize": normalize, "sampling_rate": 16_000})
            (tmp_path / "preprocessor_config.json").write_text(told)
        return tmp_path

    return written


def change(folder, **facts):
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **facts}))


@pytest.mark.parametrize(
    ("kind", "normalize", "expected"),
    [
        ("recognising", True, ENGLISH),
        ("recognising", None, ENGLISH),
        ("guessing", False, CHINESE),
        ("guessing", None, CHINESE),
        ("guessing", True, ""),  # as facebook's own of this kind
        ("alone", True, ""),
        ("alone", False, ""),
    ],
)
def test_it_is_told_by_what_whole_models_hold(written, kind, normalize, expected):
    folder = written(kind, normalize)
    assert load_encoder(folder, name="anything").origin == expected
    change(folder, architectures=None)
    assert load_encoder(folder, name="anything").origin == expected


def test_a_recogniser_of_another_language_is_neither(written):
    assert load_encoder(written("recognising", True, vocab_size=5_000)).origin == ""


@pytest.mark.parametrize(("kind", "expected"), [("recognising", ENGLISH), ("guessing", CHINESE)])
def test_it_is_told_by_the_settings_if_other_parts_were_left_out(written, kind, expected):
    file = written(kind) / "model.safetensors"
    kept = {name: tensor for name, tensor in load_file(file).items() if name.startswith("wav2vec2.")}
    save_file(kept, file, {"format": "pt"})
    assert load_encoder(file.parent).origin == expected
    change(file.parent, architectures="damaged")
    assert load_encoder(file.parent).origin == ""
