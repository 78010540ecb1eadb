"""Notices in ComfyUI: on the node that found them, in the report, in Chinese; and the time that encoding takes."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import count

import pytest
import torch
from drawn_faces import drawn_mesh
from loaded import HEARD_AS_IT_IS, Loaded

from joyhallo.sound.origin import CHINESE, ENGLISH
from tools.comfyui.server import ROOT
from tools.demo_model.seeded import NET, write_autoencoder, write_encoder, write_net

KEY = "joyhallo_notices"
SETTINGS = (1, "exact", 2, 1.0, 1.0, 1.0, 1.0, 64, "square", False)
HEADS = {
    ENGLISH: {"lm_head.weight": torch.zeros(32, 768), "lm_head.bias": torch.zeros(32)},
    CHINESE: {"quantizer.codevectors": torch.zeros(1, 640, 128), "project_hid.weight": torch.zeros(256, 768)},
}
BASE = {"hidden_size": 768, "num_hidden_layers": 12}  # of the published encoders; all else is small


@pytest.fixture(scope="module")
def loaded(pack):
    return Loaded(pack)


@pytest.fixture(scope="module")
def encode(pack):
    @torch.inference_mode()
    def encode(encoder, samples):
        audio = {"waveform": samples[None, None], "sample_rate": 16_000}
        return pack.nodes.audio_encode.ChineseWav2Vec2Encode.execute(encoder, audio, *HEARD_AS_IT_IS)

    return encode


def noise(seconds: float = 0.5) -> torch.Tensor:
    return torch.randn(round(16_000 * seconds), generator=torch.Generator().manual_seed(3)) / 10


# ---- on the node, and in the report


def test_each_node_shows_its_own_and_the_report_has_all(loaded, encode):
    silent, usual = encode(loaded.encoder, torch.zeros(8_000)), encode(loaded.encoder, noise())
    words = "The recording is silent: every sample is zero. The mouth will hardly move."
    assert silent.ui[KEY] == [{"key": "silent", "text": words, "values": {}}]
    assert usual.ui[KEY] == []
    given = (loaded.model, loaded.vae, loaded.face)
    with torch.inference_mode():
        found = loaded.sampler.execute(*given, silent.args[0], *SETTINGS, lip_mask=torch.zeros(1, 64, 64))
        good = loaded.sampler.execute(*given, usual.args[0], *SETTINGS)
    (own,) = found.ui[KEY]
    assert (own["key"], own["values"]) == ("empty_mask", {"region": "lip"})
    assert found.args[1].endswith(f"\nWarnings:  \n- {words}  \n- {own['text']}")
    assert good.ui[KEY] == []
    assert "Warnings" not in good.args[1]


def test_a_face_shows_its_own(pack):
    meshes = [drawn_mesh(180, 240, 90), drawn_mesh(460, 240, 60)]
    landmarks = {"frames": [[{"landmarks_xy": mesh} for mesh in meshes]], "image_size": (480, 640)}
    node = pack.nodes.face_mask_prep.FaceMaskPrep
    found = node.execute(torch.rand(1, 480, 640, 3), "auto", "face", 1.2, 2.0, "neutral", landmarks=landmarks)
    assert [one["key"] for one in found.ui[KEY]] == ["small_face", "several_faces"]


@pytest.mark.parametrize(("regional", "right", "wrong"), [(False, CHINESE, ENGLISH), (True, ENGLISH, CHINESE)])
def test_the_encoder_of_the_other_network_is_told_by_its_file(pack, loaded, encode, tmp_path, regional, right, wrong):
    config = replace(NET, audio_layers=12, audio_channels=768, regional_audio=regional)
    write_net(tmp_path / "net.safetensors", config)
    write_autoencoder(tmp_path / "vae.safetensors")
    model = pack.nodes.comfy_adapter.load_model(tmp_path / "net.safetensors", "net", "auto")
    vae = pack.nodes.autoencoder.load_vae(tmp_path / "vae.safetensors")
    for held, expected in ((right, []), (wrong, ["wrong_encoder"]), (None, [])):
        folder = tmp_path / f"encoder-{held}"
        write_encoder(folder, HEADS.get(held), **BASE)
        speech = encode(pack.nodes.speech_encoder.load_speech_encoder(folder, "somebody's"), noise()).args[0]
        with torch.inference_mode():
            found = loaded.sampler.execute(model, vae, loaded.face, speech, *SETTINGS)
        assert [one["key"] for one in found.ui[KEY]] == expected
        assert (f"trained with {right}" in found.args[1]) == bool(expected)


# ---- the time left


class Page:
    def __init__(self):
        self.said = []

    def send_progress_text(self, text, node):
        self.said.append((node, text))


@pytest.fixture
def clock(pack, monkeypatch):
    """A second for each look at it."""
    ticks = count()
    for module in (pack.nodes.audio_encode, pack.nodes.preview):
        monkeypatch.setattr(module.time, "monotonic", lambda: float(next(ticks)))


def test_long_encoding_says_how_long_it_takes(pack, monkeypatch, clock):
    page = Page()
    monkeypatch.setattr(pack.nodes.preview, "page", lambda: page)
    progress = pack.nodes.audio_encode.Progress("5:3")
    for task in (progress.separating, progress.encoding):
        for step in range(51):
            task(step / 50)
    progress.finish()
    assert {node for node, _ in page.said} == {"5:3"}
    said = [text for _, text in page.said]
    assert said[0].startswith("Separating the voice: about ")
    assert any(text.startswith("Encoding: about ") for text in said)
    left = [int(text.split()[-3]) for text in said if re.search(r"Encoding: about \d+ s left", text)]
    assert left == sorted(left, reverse=True)
    assert said[-1].startswith("Encoded in ")
    before = len(said)
    progress.encoding(0.5)  # in the sampler's time
    assert len(page.said) == before


def test_short_encoding_says_nothing(pack, monkeypatch):
    page = Page()
    monkeypatch.setattr(pack.nodes.preview, "page", lambda: page)
    progress = pack.nodes.audio_encode.Progress("5:3")
    for step in range(11):
        progress.encoding(step / 10)
    progress.finish()
    assert page.said == []


# ---- in Chinese


def sentences() -> dict[str, str]:
    """By key, as they stand in the programs."""
    found = {}
    for folder in ("joyhallo", "nodes"):
        for file in (ROOT / folder).rglob("*.py"):
            text = re.sub(r'"\s*\n\s*"', "", file.read_text(encoding="utf-8"))
            text = re.sub(r'(\w+) = ("[^"\n]*")\n', r"\1 = \2\n", text)
            named = dict(re.findall(r'^\s+(\w+) = "([^"\n]*)"$', text, re.MULTILINE))
            for key, sentence in re.findall(r'noticed\(\s*log,\s*"(\w+)",\s*("[^"]*"|\w+)', text):
                found[key] = named[sentence] if sentence in named else sentence.strip('"')
    return found


def test_every_notice_is_known_in_chinese_with_values_that_it_has():
    words = (ROOT / "web" / "words.js").read_text(encoding="utf-8")
    known = dict(re.findall(r"^    notice_(\w+): (.*)$", words, re.MULTILINE))
    english = sentences()
    assert len(english) >= 13
    assert known.keys() == english.keys()
    for key, text in known.items():
        assert re.search("[一-鿿]", text)
        values = set(re.findall(r"\{ (.*?) \}", text)[0].split(", ")) if "=>" in text else set()
        assert values == set(re.findall(r"{(\w+)}", english[key])), key
