"""Each input of the sampler and of the loader changes what it says, and what cannot be used is refused at once."""

from __future__ import annotations

import pytest
import torch
from film import Film

from joyhallo.methods.hallo.presets import PRESETS
from tools.demo_model.bundle import FOLDER


def widgets(node: str) -> dict:
    """What a node of the film is set to, aside from what is linked."""
    film = Film()
    inputs = film[getattr(film, node).node]["inputs"]
    return {name: value for name, value in inputs.items() if not isinstance(value, list)}


MODELS, FACE, SPEECH, SAMPLING = (widgets(node) for node in ("models", "face", "speech", "sampler"))


def picture(name: str, mode: str) -> torch.Tensor:
    """(1, height, width, ...) in 0..1"""
    import numpy as np
    from PIL import Image

    return torch.from_numpy(np.array(Image.open(FOLDER / name).convert(mode))).float()[None] / 255


@pytest.fixture(scope="module")
def models(pack):
    model, encoder, _, vae = pack.nodes.load_models.LoadJoyHalloModels.execute(**MODELS).args
    return {"model": model, "encoder": encoder, "vae": vae}


@pytest.fixture(scope="module")
def face(pack):
    masks = {"face_mask": picture("face_mask.png", "L"), "lip_mask": picture("lip_mask.png", "L")}
    return pack.nodes.face_mask_prep.FaceMaskPrep.execute(picture("portrait.png", "RGB"), **FACE, **masks).args


def sound(seconds: float, rate: int = 16_000, channels: int = 1) -> dict:
    t = torch.arange(round(seconds * rate)) / rate
    wave = 0.3 * torch.sin(2 * torch.pi * 180 * t) * (torch.sin(2 * torch.pi * 3 * t) > 0)
    return {"waveform": wave.expand(1, channels, -1), "sample_rate": rate}


@pytest.fixture(scope="module")
def heard(pack, models):
    def heard(audio, **changes):
        encode = pack.nodes.audio_encode.ChineseWav2Vec2Encode.execute
        return encode(audio_encoder=models["encoder"], audio=audio, **{**SPEECH, **changes}).args

    return heard


@pytest.fixture(scope="module")
def speech(heard):
    return heard(sound(0.4))[0]


@pytest.fixture(scope="module")
def film(pack, models, face, speech):
    def film(**changes):
        given = {"model": models["model"], "vae": models["vae"], "face": face[0], "speech": speech, **SAMPLING}
        video = pack.nodes.sampler.JoyHalloSampler.execute(**{**given, **changes}).args[0]
        assert video.get_frame_rate() == 25
        return video.get_components().images

    return film


@pytest.fixture(scope="module")
def usual(film):
    return film()


def test_the_same_inputs_give_the_same_frames(film, usual):
    assert usual.shape == (10, 64, 64, 3)
    assert usual.dtype == torch.float32
    assert usual.min() >= 0
    assert usual.max() <= 1
    assert torch.equal(film(), usual)


@pytest.mark.parametrize(
    "changes",
    [
        *({"seed": 2}, {"steps": 3}, {"cfg": 1.0}, {"cfg": 2.0}),
        *({"pose_weight": 0.5}, {"expression_weight": 0.5}, {"lip_weight": 0.5}),
    ],
    ids=str,
)
def test_each_number_changes_the_frames(film, usual, changes):
    assert (film(**changes) - usual).abs().mean() > 1e-4


def test_no_number_of_steps_means_the_presets(film):
    draft = film(preset="draft", steps=0)
    assert torch.equal(draft, film(preset="draft", steps=PRESETS["draft"].steps))
    assert (draft - film(preset="draft", steps=2)).abs().mean() > 1e-4


@pytest.fixture(scope="module")
def of_four_steps(film):
    return film(steps=4)


@pytest.mark.parametrize("preset", ["balanced", "fast", "draft"])
def test_each_preset_changes_the_frames(film, of_four_steps, preset):
    """With as many steps, too: but not with two, where the solvers do the same."""
    assert (film(preset=preset, steps=4) - of_four_steps).abs().mean() > 1e-4


def test_size_and_picture_choose_the_shape(film):
    assert film(size=128, steps=1).shape == (10, 128, 128, 3)
    assert film(picture="whole picture", steps=1).shape == (10, 512, 512, 3)


@pytest.mark.parametrize(("name", "number"), [("pose_mask", 2), ("expression_mask", 3), ("lip_mask", 4)])
def test_edited_masks_are_used(film, usual, face, name, number):
    inverted = film(**{name: 1 - face[number]})
    assert (inverted - usual).abs().mean() > 1e-4
    assert (film(**{name: face[number]}) - usual).abs().mean() < (inverted - usual).abs().mean() / 20


def test_a_mask_may_have_any_size_that_covers_the_square(film, usual, face):
    small = torch.nn.functional.interpolate(face[4][None], (100, 100), mode="bilinear", antialias=True)[0]
    half_as_far = (film(lip_mask=1 - face[4]) - usual).abs().mean() / 2
    assert (film(lip_mask=small) - usual).abs().mean() < half_as_far


def test_weights_act_in_their_region_alone(film, face):
    """A weight of 0 takes away all that the region adds, wherever it lies."""
    nowhere = torch.zeros_like(face[4])
    silent = film(lip_mask=nowhere, lip_weight=0.0)
    assert torch.equal(film(lip_mask=1 - nowhere, lip_weight=0.0), silent)


@pytest.mark.parametrize("dtype", ["fp16", "bf16", "fp32", "fp8_e4m3fn"])
def test_the_weights_are_kept_as_chosen(pack, film, usual, dtype):
    model = pack.nodes.load_models.LoadJoyHalloModels.execute(**{**MODELS, "weight_dtype": dtype}).args[0]
    matrix = model.net.denoising_unet.mid_block.attentions[0].transformer_blocks[0].attn1.to_q.weight
    assert matrix.dtype == pack.nodes.comfy_adapter.WEIGHTS[dtype]
    difference = (film(model=model) - usual).abs().mean()
    assert difference < (0.15 if dtype.startswith("fp8") else 0.02)
    assert (difference == 0) == (dtype in ("fp32", "fp16"))  # the file has 16 bits


# ---- length


@pytest.mark.parametrize(("seconds", "frames"), [(0.1, 3), (0.2, 5), (0.28, 8), (0.64, 16), (0.65, 17), (1.0, 25)])
def test_as_many_frames_as_the_sound_lasts(heard, film, seconds, frames):
    speech, vocals, count = heard(sound(seconds, rate=44_100, channels=2))
    assert count == frames
    assert abs(vocals["waveform"].shape[-1] / vocals["sample_rate"] - seconds) < 1e-3
    assert len(film(speech=speech, steps=1)) == frames


def test_comfyuis_own_encoding_hears_what_transformers_does(models):
    """Its AudioEncoderEncode calls this, at any rate and with any channels."""
    wave, rate = sound(0.5, channels=2).values()
    with torch.no_grad():
        expected = models["encoder"].model(wave[:, 0], output_hidden_states=True).hidden_states
    found = models["encoder"].encode_audio(wave, rate)
    assert found["audio_samples"] == 8000
    for layer, other in zip(found["encoded_audio_all_layers"], expected, strict=True):
        torch.testing.assert_close(layer, other)
    torch.testing.assert_close(found["encoded_audio"], expected[-1])


# ---- what cannot be used


def test_an_encoder_of_another_model_is_named(pack, film, heard, models):
    other = torch.nn.Module()
    speech, _, _ = heard(sound(0.2))
    object.__setattr__(speech, "layers", 12)
    with pytest.raises(pack.joyhallo.sound.wav2vec2.SpeechError, match="choose the encoder that it was trained with"):
        film(speech=speech)
    with pytest.raises(pack.joyhallo.sound.wav2vec2.SpeechError, match="connect Load JoyHallo Models"):
        pack.nodes.audio_encode.ChineseWav2Vec2Encode.execute(audio_encoder=other, audio=sound(0.2), **SPEECH)


def test_a_vae_of_other_latents_is_named(pack, film, tmp_path):
    """The bundled model takes those of patches: others have another number of channels, or are of another kind."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from safetensors.torch import save_file

    from tools.demo_model.seeded import AUTOENCODER

    for channels, message in ((4, "latents of 4 channels.*takes 16 channels"), (16, "latents of a different kind")):
        other = AutoencoderKL(**{**AUTOENCODER, "latent_channels": channels})
        save_file(other.state_dict(), tmp_path / "other.safetensors")
        with pytest.raises(ValueError, match=f"{message}.*choose demo as the VAE too"):
            film(vae=pack.nodes.autoencoder.load_vae(tmp_path / "other.safetensors"))
    with pytest.raises(ValueError, match="The VAE is a str; connect the VAE that was trained with the model"):
        film(vae="sd-vae-ft-mse")


def test_a_file_that_is_no_vae_is_named(pack):
    with pytest.raises(pack.joyhallo.files.contents.WeightsError, match=r"looks like .*; expected a"):
        pack.nodes.autoencoder.load_vae(FOLDER / "net.safetensors")


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        ({"waveform": torch.zeros(1, 1, 0), "sample_rate": 16_000}, "empty"),
        ({"waveform": torch.zeros(2, 1, 16_000), "sample_rate": 16_000}, "one at a time"),
        ({"waveform": torch.full((1, 1, 16_000), torch.nan), "sample_rate": 16_000}, "not numbers"),
        (None, "`audio` is empty: no sound"),
    ],
)
def test_sound_that_cannot_be_heard(pack, heard, audio, message):
    with pytest.raises(pack.joyhallo.sound.audio.AudioError, match=message):
        heard(audio)


class Anything:
    """What a link of any type may bring."""


ODD_NUMBERS = ["abc", {}, [1], torch.zeros(3), 2.5, 2**70, 10**400, float("nan"), True, None]


@pytest.mark.parametrize("value", ODD_NUMBERS, ids=lambda value: str(value)[:12])
@pytest.mark.parametrize("name", ["size", "steps", "seed"])
def test_a_linked_number_is_checked_like_a_typed_one(film, name, value):
    with pytest.raises(ValueError, match=rf"`{name}` is .*expected a whole number from"):
        film(**{name: value})


@pytest.mark.parametrize("size", [0, 100, 1 << 20])
def test_a_linked_size_is_one_that_fits(film, size):
    with pytest.raises(ValueError, match=f"`size` is {size}; expected a whole number from 64 to 2048 in steps of 64"):
        film(size=size)


def test_a_switch_is_yes_or_no_whatever_its_type(pack):
    import numpy as np

    node, numbers = pack.nodes.steadiness.JoyHalloSteadiness, {"overlap": 0, "fade": 0, "anchor_every": 0.0}
    for value in (True, 1, np.bool_(True)):
        assert node.execute(hold_colours=value, **numbers).args[0].hold_colours is True
    for value in ("true", 2, None, torch.ones(1)):
        with pytest.raises(ValueError, match=r"`hold_colours` is .*expected yes or no"):
            node.execute(hold_colours=value, **numbers)


def test_numbers_that_are_whole_are_taken_whatever_their_type(film, usual):
    import numpy as np

    changes = {"steps": float(SAMPLING["steps"]), "seed": np.int64(SAMPLING["seed"]), "cfg": np.float32(3.5)}
    assert (film(**changes) == usual).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -5, 0.5, "3.5", [3.5]])
def test_guidance_that_is_no_number_in_its_range(film, value):
    with pytest.raises(ValueError, match=r"`cfg` is .*expected a number from 1 to 20"):
        film(cfg=value)


@pytest.mark.parametrize("value", [-5, float("nan"), 1e30])
def test_a_weight_is_checked_as_one_number_and_as_many(pack, film, value):
    with pytest.raises(pack.nodes.inputs.InputError, match=r"`lip_weight` is .*expected a number from 0 to 3"):
        film(lip_weight=value)
    with pytest.raises(ValueError, match=r"weight of frame 1 is .*must be from 0 to 10"):
        film(lip_weight=[1.0, value])


@pytest.mark.parametrize("name", ["preset", "picture"])
@pytest.mark.parametrize("value", [{}, ["exact"], 1, Anything()], ids=str)
def test_a_choice_that_is_no_text(film, name, value):
    with pytest.raises(ValueError, match=rf"`{name}` is .*expected text"):
        film(**{name: value})


@pytest.mark.parametrize(("node", "name"), [("steadiness", "overlap"), ("motion", "release")])
@pytest.mark.parametrize("value", ["abc", {}, torch.zeros(3)], ids=str)
def test_small_nodes_check_their_numbers(pack, speech, node, name, value):
    steady = {"hold_colours": True, "overlap": 0, "fade": 0, "anchor_every": 0.0}
    given = {"steadiness": steady, "motion": {**MOTION, "speech": speech}}[node]
    kind = {"steadiness": "JoyHalloSteadiness", "motion": "JoyHalloMotion"}[node]
    with pytest.raises(ValueError, match=rf"`{name}` is .*expected a whole number"):
        getattr(getattr(pack.nodes, node), kind).execute(**{**given, name: value})


MOTION = {
    **{"expressiveness": "natural", "pose": "1", "expression": "1", "lip": "1"},
    **{"rest_in_pauses": True, "sensitivity": 0.0, "attack": 1, "release": 1},
}


def test_a_node_without_some_of_its_inputs_leaves_that_to_comfyui(pack):
    nodes = pack.nodes
    for node in (nodes.motion.JoyHalloMotion, nodes.sampler.JoyHalloSampler, nodes.load_models.LoadJoyHalloModels):
        assert node.validate_inputs() is True


SAVED = {"fps": 25.0, "filename_prefix": "video/test", "format": "mp4", "quality": "high"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"video": 5}, "`video` is 5; expected a video"),
        ({"video": torch.zeros(1, 64, 64, 3)}, "`video` is a Tensor of shape .*expected a video"),
        ({"frames": 5}, "`frames` is 5; expected pictures"),
        ({"frames": torch.zeros(1, 64, 64, 3).numpy()}, "`frames` is a ndarray of shape .*expected pictures"),
        ({"frames": torch.zeros(64, 64)}, "`frames` is a Tensor of shape .*expected pictures"),
        ({"audio": [0.5]}, "`audio` is a list: no sound"),
        ({"audio": {"waveform": torch.zeros(1, 1, 9)}}, "`audio` is a dict: no sound"),
        ({"audio": {"waveform": "x", "sample_rate": 9}}, "The sound is a str"),
        ({"fps": "fast"}, "`fps` is the text 'fast'; expected a number"),
        ({"fps": [25]}, "`fps` is a list; expected a number"),
        ({"format": {}}, "`format` is a dict; expected text"),
        ({"format": "copy"}, "`format` is 'copy'; choose one of: mp4"),
        ({"quality": "handover"}, "`quality` is 'handover'; choose one of: best"),
        ({"filename_prefix": "a" * 250}, "name of 250 bytes .* Shorten it"),
        ({"filename_prefix": "video/" + "\u4f60" * 70}, "name of 2.. bytes .* Shorten it"),
        ({"filename_prefix": "../x"}, "leads out of the output folder"),
        ({"filename_prefix": "/etc/x"}, "leads out of the output folder"),
        ({"filename_prefix": "a\0b"}, "character of code 0"),
        ({"label": "loud"}, "`label` is 'loud'; choose one of: off"),
    ],
)
def test_what_cannot_be_saved_is_refused_before_frames_are_made(pack, given, message):
    node = pack.nodes.save_video.SaveTalkingVideo
    with pytest.raises(ValueError, match=message):
        node.check_lazy_status(**{"frames": None, **SAVED, **given})
    with pytest.raises(ValueError, match=message):
        node.execute(**{"frames": None if "video" in given else torch.zeros(1, 64, 64, 3), **SAVED, **given})
