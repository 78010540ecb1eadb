"""The recorded way from picture, landmarks and sound to frames, through the nodes."""

from __future__ import annotations

import json

import pytest
import seeded
import torch
from cases import WEIGHTS, Case, frames_first
from loaded import filmed
from safetensors.torch import load_file, save_file
from shared import shared_folder

from joyhallo.methods.hallo.checkpoint import header_entry
from joyhallo.methods.hallo.config import ModelConfig
from tools.demo_model.seeded import write_autoencoder


@pytest.fixture(scope="module")
def case():
    folder = shared_folder()
    if folder is None:
        pytest.skip("the recorded case is not among those that the repository carries")
    golden = folder / "golden"
    return Case("e2e", golden, json.loads((golden / "index.json").read_text()))


@pytest.fixture
def models(case, tmp_path, monkeypatch):
    """A models folder with the case's weights, as a user would have them."""
    import folder_paths
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    net = WEIGHTS.net(case)
    header = header_entry(ModelConfig(net.config, case.schedule().config))
    save_file(net.state_dict(), tmp_path / "net.safetensors", {"joyhallo": header})
    with torch.device("meta"):
        hearing = Wav2Vec2Model(Wav2Vec2Config(**case.facts["wav2vec_config"]))
    write_autoencoder(tmp_path / "vae.safetensors")  # in whose place the case's will be
    (tmp_path / "hearing").mkdir()
    weights = seeded.fill(hearing, "wav2vec.", case.salt).state_dict()
    save_file(weights, tmp_path / "hearing" / "model.safetensors")
    (tmp_path / "hearing" / "config.json").write_text(json.dumps(case.facts["wav2vec_config"]))
    (tmp_path / "hearing" / "preprocessor_config.json").write_text('{"do_normalize": false}')
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "joyhallo", ([str(tmp_path)], set()))


def vae_of(case, vae):
    """The case's autoencoder in the place of another's: its eight groups are none that ComfyUI's own has."""
    import comfy.model_patcher

    class Recorded(torch.nn.Module):
        def __init__(self, autoencoder):
            super().__init__()
            self.autoencoder = autoencoder

        def encode(self, pixels):
            return self.autoencoder.encode(pixels).latent_dist.mean

        def decode(self, latents):
            return self.autoencoder.decode(latents).sample

    vae.first_stage_model = Recorded(case.codec().autoencoder)
    vae.patcher = comfy.model_patcher.ModelPatcher(vae.first_stage_model, vae.device, torch.device("cpu"))
    return vae


def recorded_face(pack, case):
    """A detector that finds the recorded face."""
    faces = pack.joyhallo.faces.find
    box = faces.outline_box(case["landmarks"].numpy())
    analysis = faces.FaceModels()
    analysis.detector = type("Recorded", (), {})()
    analysis.detector.seen = lambda picture: [faces.Face(box, identity=case["face_emb"].numpy())]
    return analysis


def test_the_nodes_give_the_originals_frames(pack, case, models, monkeypatch):
    nodes, size = pack.nodes, case.facts["px"]
    loaded = nodes.load_models.LoadJoyHalloModels.execute(
        "net.safetensors", "hearing", "none", "vae.safetensors", "fp32", False
    )
    model, encoder, _, vae = loaded.args
    image = case["image"].float()[None] / 255
    height, width = image.shape[1:3]
    landmarks = {"frames": [[{"landmarks_xy": case["landmarks"].numpy()}]], "image_size": (height, width)}
    face = nodes.face_mask_prep.FaceMaskPrep.execute(
        *(image, "auto", "whole picture", case.facts["face_expand_ratio"], 2.0, "from the picture"),
        face_analysis=recorded_face(pack, case),
        landmarks=landmarks,
    ).args[0]
    audio = {"waveform": case["wave"][None, None], "sample_rate": 16_000}
    speech, _, count = nodes.audio_encode.ChineseWav2Vec2Encode.execute(
        encoder, audio, "off", "as recorded", "as the encoder was trained"
    ).args
    assert count == case.facts["audio_length"]
    noise = [frames_first(case[f"latents.{i}"]) for i in range(case.facts["chunks"])]
    monkeypatch.setattr(pack.joyhallo.methods.hallo.sampling, "seeded_noise", lambda *_: iter(noise))
    with filmed(nodes.run) as batches:
        video = nodes.sampler.JoyHalloSampler.execute(
            *(model, vae_of(case, vae), face, speech, 0, "exact", case.facts["steps"], case.facts["cfg_scale"]),
            *(1.0, 1.0, 1.0, size, "square", False),
        ).args[0]
    frames = torch.cat(batches)
    assert torch.equal(video.get_components().images, (frames * 255).round() / 255)
    found = (frames * 255).to(torch.uint8).int()  # the original cuts off, it does not round
    expected = load_file(case.folder / case.facts["file"])["out.video_u8"]
    difference = (found - expected.int()).abs()
    assert video.get_frame_rate() == 25
    assert difference.max() <= 1
    assert (difference > 0).float().mean() < 0.001
