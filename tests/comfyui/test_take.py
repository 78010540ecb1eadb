"""What the sampler makes, and refuses to begin: its file, its room, its background, its steadiness."""

from __future__ import annotations

import copy
import gc
import hashlib
import math
import re
import shutil
import threading
from dataclasses import replace
from fractions import Fraction
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from handmade import made, numbered
from loaded import Loaded, filmed
from PIL import Image

from joyhallo.commands import media
from joyhallo.commands.jobs import Job
from joyhallo.commands.jobs import make as make_job
from joyhallo.commands.options import TALK
from tools.demo_model.bundle import FOLDER

SETTINGS = {"seed": 1, "preset": "exact", "steps": 2, "cfg": 1.0, "size": 64, "picture": "square", "resume": False}
WEIGHTS = dict.fromkeys(("pose_weight", "expression_weight", "lip_weight"), 1.0)


@pytest.fixture(scope="module")
def loaded(pack):
    return Loaded(pack)


@pytest.fixture(scope="module")
def speech(pack, loaded):
    """Of two seconds: four chunks, with a pause at the end."""
    noise = torch.randn(1, 1, 32_000, generator=torch.Generator().manual_seed(2)) / 10
    noise[..., 28_000:] = 0
    heard = ("off", "as recorded", "as the encoder was trained")
    audio = {"waveform": noise, "sample_rate": 16_000}
    return pack.nodes.audio_encode.ChineseWav2Vec2Encode.execute(loaded.encoder, audio, *heard).args[0]


@pytest.fixture(scope="module")
def make(loaded, speech):
    @torch.inference_mode()
    def make(**changes):
        given = {"model": loaded.model, "vae": loaded.vae, "face": loaded.face, "speech": speech}
        return loaded.sampler.execute(**{**given, **SETTINGS, **WEIGHTS, **changes}).args

    return make


@pytest.fixture(scope="module")
def film(make):
    return lambda **changes: make(**changes)[0].get_components().images


@pytest.fixture(scope="module")
def plain(film):
    return film()


@pytest.fixture
def steady(pack):
    off = {"hold_colours": False, "overlap": 0, "fade": 0, "anchor_every": 0.0}
    return lambda **wishes: pack.nodes.steadiness.JoyHalloSteadiness.execute(**{**off, **wishes}).args[0]


# ---- the file


def test_the_file_lives_as_long_as_the_video(make):
    video = make()[0]
    path = video.path
    assert path.exists()
    del video
    gc.collect()
    assert not path.exists()


def test_the_video_has_the_sound_that_was_spoken(make, speech):
    parts = make()[0].get_components()
    assert parts.frame_rate == 25
    assert parts.audio["sample_rate"] == 16_000
    torch.testing.assert_close(parts.audio["waveform"][0], speech.sound[0], rtol=0, atol=2**-23)


def test_saved_by_comfyuis_own_node_it_plays(make, plain, tmp_path):
    """ComfyUI would copy what is in the file, which no browser shows."""
    import av

    make()[0].save_to(str(tmp_path / "saved.mp4"), format="auto", codec="auto", metadata={"prompt": {"1": "{"}})
    with av.open(str(tmp_path / "saved.mp4")) as file:
        assert file.streams.video[0].codec_context.name == "h264"
        assert file.streams.video[0].codec_context.pix_fmt == "yuv420p"
        assert file.streams.audio[0].codec_context.name == "aac"
        assert "prompt" in file.metadata
        assert sum(1 for _ in file.decode(video=0)) == len(plain)


def test_the_report_says_what_was_made(make):
    _, report, drift = make()
    assert re.search(
        r"\n50 frames in 4 chunks; up to [\d.]+ MB on disk, where [\d.]+ GB are free; [\d.]+ MB of mem", report
    )
    assert "\nMade in " in report
    assert report.count("  \n") == report.count("\n")  # lines, as Markdown has them
    assert "a joint changes the picture" in report
    assert drift.shape[0] == 1
    assert drift.std() > 0.05


def test_the_report_says_what_it_was_made_with(make, loaded, steady):
    lip_weight = [0.5] * 25 + [1.5] * 25
    _, report, _ = make(
        seed=77, preset="draft", steps=0, lip_weight=lip_weight, steadiness=steady(hold_colours=True, fade=4)
    )
    lines = dict(line.rstrip().split(": ", 1) for line in report.splitlines()[:11])
    shown = hashlib.sha256((FOLDER / "net.safetensors").read_bytes()).hexdigest()
    assert lines["Checkpoint's SHA-256"] == shown
    assert lines["Checkpoint"].startswith("demo, a JoyHallo network, weights ")
    assert lines["Speech"] == "demo, 2.00 s"
    assert lines["Sampling"] == (
        "seed 77, preset draft with dpmpp_2m and 6 steps, cfg 1, weights pose 1, expression 1, lip 0.5 to 1.5"
    )
    assert lines["Picture"] == "512x512, no face detection, window 512x512 pixels at (0, 0), identity neutral"
    assert lines["Frames"] == "64x64, as they are"
    assert lines["Steadiness"] == "colours held, fade 4"
    assert f"ComfyUI {import_module('comfyui_version').__version__}" in lines["Versions"]
    assert f"PyTorch {torch.__version__}" in lines["Versions"]
    assert lines["Device"].startswith("cpu, ")


def test_a_clip_of_several_chunks_shows_its_drift_on_the_node(pack, loaded, speech):
    given = {"model": loaded.model, "vae": loaded.vae, "face": loaded.face, **SETTINGS, **WEIGHTS}
    with torch.inference_mode():
        found = loaded.sampler.execute(speech=speech, **given)
        alone = loaded.sampler.execute(speech=loaded.speech, **{**given, "seed": 2})
    (shown,) = found.ui["joyhallo_drift"]
    import folder_paths

    seen = np.array(Image.open(Path(folder_paths.get_temp_directory(), shown["filename"])))
    assert np.array_equal(seen, (found.args[2][0] * 255).round().byte().numpy())
    assert alone.ui == {"joyhallo_notices": []}  # half a second is a single chunk


def test_the_command_line_makes_the_same_frames(loaded, tmp_path):
    """With PyTorch's own layers and attention, and our loaders of the three models, in place of ComfyUI's."""
    samples, rate = loaded.speech.sound
    soundfile.write(tmp_path / "noise.wav", samples[0].numpy(), rate, subtype="FLOAT")
    files = {"model": "net.safetensors", "vae": "vae.safetensors", "audio_encoder": "wav2vec2",
             "face_mask": "face_mask.png", "lip_mask": "lip_mask.png"}  # fmt: skip
    options = {option.name: option.default for option in TALK} | {name: FOLDER / file for name, file in files.items()}
    options |= {"seed": 1, "steps": 2, "size": 64, "square": True, "framing": "whole picture", "identity": "neutral",
                "separate_vocals": "off"}  # fmt: skip
    inputs = {"picture": FOLDER / "portrait.png", "sound": tmp_path / "noise.wav"}
    with filmed(media) as frames:
        make_job(Job("talk", inputs, options, tmp_path / "film.mkv"))
    beyond_rounding = (torch.cat(frames) - 255 * loaded.frames()).abs() - 0.5
    assert beyond_rounding.max() < 255 * 1e-4


def test_nothing_waits_for_pasting_and_measuring(pack, loaded, make, monkeypatch):
    """The device has its next chunk while this is done."""
    places, seen = pack.joyhallo.methods.hallo.clip, {}

    def noted(where, name):
        function = getattr(where, name)

        def note(*given, **more):
            seen.setdefault(name, set()).add(threading.get_ident())
            return function(*given, **more)

        monkeypatch.setattr(where, name, note)

    noted(places, "paste")
    noted(places, "animate")
    noted(places.DriftMeter, "__call__")
    make(speech=loaded.speech, picture="whole picture")
    assert seen["animate"] == {threading.get_ident()}
    assert seen["paste"] == seen["__call__"] != seen["animate"]


# ---- the name of its journal


@pytest.fixture(scope="module")
def take(pack, loaded, speech):
    joyhallo = pack.joyhallo.methods.hallo
    weights = torch.ones(3000, 3)  # too many for their text to show each
    settings = joyhallo.sampling.Settings(seed=1, steps=2, weights=weights)
    steadiness = joyhallo.steadiness.Steadiness()
    return pack.nodes.take.Take(loaded.model, loaded.vae, loaded.face, speech, settings, steadiness, whole=False)


def key(take) -> str:
    return take.journal.key


def edited(network):
    """A copy in which one number is another."""
    other = copy.deepcopy(network)
    with torch.no_grad():
        next(other.parameters()).view(-1)[0] += 1
    return other


def turned(region: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(region[:, ::-1] // 2)


def test_the_same_take_has_the_same_journal(take):
    face = replace(take.face, picture=take.face.picture.copy(), identity=take.face.identity.clone())
    settings = replace(take.settings, weights=take.settings.weights.clone())
    assert key(replace(take, face=face, settings=settings, whole=True)) == key(take)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 2},
        {"steps": 3},
        {"guidance": 2.0},
        {"motion_frames": 1},
        {"overlap": 1},
        {"solver": "unipc"},
        {"guidance_span": (0.0, 0.5)},
        {"reuse": 2},
        {"weights": torch.ones(3000, 3).index_fill_(0, torch.tensor([1500]), 0.5)},
        {"weights": torch.ones(2999, 3)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_other_settings_have_another_journal(take, change):
    assert key(replace(take, settings=replace(take.settings, **change))) != key(take)


@pytest.mark.parametrize("change", [{"hold_colours": True}, {"fade": 4}, {"anchor_every": 2.0}], ids=str)
def test_what_is_corrected_has_another_journal(take, change):
    """Chunks continue the frames that were corrected, so their latents are others."""
    assert key(replace(take, steadiness=replace(take.steadiness, **change))) != key(take)


def test_other_arithmetic_has_another_journal(pack, take, monkeypatch):
    """As after a restart with other flags."""
    import comfy.ldm.modules.attention as attention

    before, threads = key(replace(take)), torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        assert key(replace(take)) != before
    finally:
        torch.set_num_threads(threads)
    assert key(replace(take)) == before
    compiled = replace(take.model, compiled=pack.nodes.comfy_adapter.Compiled())
    assert key(replace(take, model=compiled)) != before
    monkeypatch.setattr(pack.nodes.comfy_adapter, "optimized_attention", attention.attention_split)
    assert key(replace(take)) != before


def test_another_picture_region_or_identity_has_another_journal(take):
    face = take.face
    others = [
        replace(face, picture=255 - face.picture),
        replace(face, identity=face.identity + 0.001),
        replace(face, face_region=turned(face.face_region)),
        *(
            replace(face, regions=face.regions.replaced(**{name: turned(region)}))
            for name, region in vars(face.regions).items()
        ),
    ]
    assert len({key(replace(take, face=other)) for other in [face, *others]}) == 1 + len(others)


def test_another_speech_has_another_journal(take):
    assert key(replace(take, speech=replace(take.speech, key="another"))) != key(take)


def test_another_model_has_another_journal(take):
    model = take.model
    noisier = replace(model.config, schedule=replace(model.config.schedule, beta_end=0.02))
    rougher = replace(model.precision, compute=torch.bfloat16)
    for change in ({"net": edited(model.net)}, {"config": noisier}, {"precision": rougher}):
        assert key(replace(take, model=replace(model, **change))) != key(take)


def test_another_autoencoder_has_another_journal(take):
    other, rougher = copy.copy(take.vae), copy.copy(take.vae)
    other.first_stage_model, rougher.vae_dtype = edited(take.vae.first_stage_model), torch.bfloat16
    assert key(replace(take, vae=copy.copy(take.vae))) == key(take)
    assert key(replace(take, vae=other)) != key(take)
    assert key(replace(take, vae=rougher)) != key(take)


def test_another_torch_has_another_journal(take, monkeypatch):
    here = key(take)
    monkeypatch.setattr(torch, "__version__", "1.0")
    assert key(replace(take)) != here


# ---- room


def test_too_little_disk_is_told_before_anything_is_made(pack, make, monkeypatch):
    usage = shutil.disk_usage
    monkeypatch.setattr(pack.joyhallo.files.space.shutil, "disk_usage", lambda path: usage(path)._replace(free=1000))
    monkeypatch.setattr(pack.joyhallo.methods.hallo.clip, "animate", lambda *_, **__: pytest.fail("it was begun"))
    with pytest.raises(ValueError, match=r"has 0.001 MB free, but .* for the frames and .* for finished chunks"):
        make(resume=True)


def test_too_little_memory_is_told_before_anything_is_made(pack, make, monkeypatch):
    import comfy.model_management

    monkeypatch.setattr(comfy.model_management, "get_total_memory", lambda device: 10 << 20)
    monkeypatch.setattr(pack.joyhallo.methods.hallo.clip, "animate", lambda *_, **__: pytest.fail("it was begun"))
    with pytest.raises(
        ValueError, match=r"Denoising at 512x512 needs .* but only 10.5 MB are available; choose a smaller size"
    ):
        make(size=512)


def test_images_that_no_memory_can_hold(make, monkeypatch):
    import comfy.model_management

    video = make()[0]
    monkeypatch.setattr(comfy.model_management, "get_free_memory", lambda device: 1 << 20)
    with pytest.raises(ValueError, match=r"Holding all 50 frames at once needs 2.46 MB .* connect the video itself"):
        video.get_components()


# ---- steadiness


@pytest.mark.parametrize(
    "wishes", [{"hold_colours": True}, {"overlap": 4}, {"fade": 4}, {"anchor_every": 0.64}], ids=str
)
def test_each_tool_acts_and_leaves_the_first_chunk_alone(film, plain, steady, wishes):
    found = film(steadiness=steady(**wishes))
    assert torch.equal(found[:16], plain[:16])
    assert len(found) == len(plain)
    assert (found[16:] - plain[16:]).abs().mean() > 1e-4


def test_no_tool_is_the_original(film, plain, steady):
    assert torch.equal(film(steadiness=steady()), plain)


def test_an_anchor_is_set_in_the_pause(film, plain, steady):
    """Of the chunks that begin 32 to 63 frames after the first, at 32 and at 48, the second does so in silence."""
    found = film(steadiness=steady(anchor_every=1.28))
    assert torch.equal(found[:48], plain[:48])
    assert not torch.equal(found[48:], plain[48:])


# ---- weights over time


def test_a_list_acts_from_where_it_differs(film, plain, speech):
    ones = [1.0] * speech.length
    same, other = film(lip_weight=ones), film(lip_weight=[*ones[:32], *[0.0] * 18])
    assert (same - plain).abs().max() <= 1.001 / 255  # computed for each frame apart
    assert torch.equal(other[:32], same[:32])
    assert (other[32:48] - same[32:48]).abs().mean() > 1e-4


@pytest.mark.parametrize(("weight", "message"), [([], "empty"), ([1.0, -1.0], "-1"), ([math.nan], "nan")])
def test_lists_that_cannot_be_weights(make, weight, message):
    with pytest.raises(ValueError, match=message):
        make(lip_weight=weight)


# ---- a background


@pytest.fixture
def background(make):
    """Another film of the same picture, which was framed by its middle."""
    return make(picture="whole picture", seed=9)[0]


def test_around_the_square_the_background_is_seen(pack, loaded, make, background):
    frames = pack.joyhallo.faces.crops
    box = pack.joyhallo.faces.boxes.Box(160, 160, 352, 352)
    face = replace(loaded.face, crop=frames.Crop(loaded.face.crop.picture, box, (64, 64)))
    found = make(face=face, picture="whole picture", background=background)[0].get_components().images
    behind = background.get_components().images
    assert torch.equal(found[:, :160], behind[:, :160])
    assert torch.equal(found[:, :, 352:], behind[:, :, 352:])
    assert (found[:, 200:300, 200:300] - behind[:, 200:300, 200:300]).abs().mean() > 0.01


def test_a_background_that_would_not_be_seen(make, background):
    with pytest.raises(ValueError, match="choose the whole picture, or disconnect the background"):
        make(background=background)


def test_a_background_of_another_size(make):
    with pytest.raises(ValueError, match="The background is 64x64 pixels, but the picture is 512x512"):
        make(background=make()[0], picture="whole picture")


def held(images: torch.Tensor, rate: float = 25):
    """A video in memory, as other nodes make it."""
    from comfy_api.latest import InputImpl, Types

    return InputImpl.VideoFromComponents(Types.VideoComponents(images, frame_rate=rate))


@pytest.mark.parametrize(
    ("images", "rate", "message"),
    [
        (torch.zeros(512, 512), 25, r"The frames have the shape \(512, 512\)"),
        (torch.zeros(2, 512, 512, 3), 0, "The frame rate is 0; expected a number above 0"),
        (torch.zeros(2, 512, 512, 3).long(), 25, "The frames are torch.int64; expected floating-point"),
    ],
)
def test_a_background_that_is_no_video_is_refused_beforehand(make, images, rate, message):
    with pytest.raises(ValueError, match=message):
        make(background=held(images, rate), picture="whole picture")


@pytest.mark.parametrize("channels", [1, 4])
def test_a_background_in_memory_may_be_grey_or_transparent(pack, loaded, make, channels):
    box = pack.joyhallo.faces.boxes.Box(160, 160, 352, 352)
    face = replace(loaded.face, crop=pack.joyhallo.faces.crops.Crop(loaded.face.crop.picture, box, (64, 64)))
    behind = held(torch.full((3, 512, 512, channels), 0.5))
    found = make(face=face, picture="whole picture", background=behind)[0].get_components().images
    assert found[0, 0, 0].tolist() == pytest.approx([0.5 if channels == 1 else 0.75] * 3, abs=0.01)


def test_a_background_is_opened_after_all_checks(pack, make, background, monkeypatch):
    space, usage = pack.joyhallo.files.space, shutil.disk_usage
    monkeypatch.setattr(pack.nodes.take, "reel_of", lambda *_: pytest.fail("it was opened"))
    monkeypatch.setattr(space.shutil, "disk_usage", lambda path: usage(path)._replace(free=1000))
    with pytest.raises(space.RoomError, match="free, but this needs"):
        make(background=background, picture="whole picture")


def by_a_phone(folder: Path, count: int = 60, rate: int = 30) -> tuple[Path, torch.Tensor]:
    """A file that is to be turned, and its frames as they are seen."""
    stored = np.empty((count, 512, 512, 3), np.uint8)
    stored[:, :, :256] = np.arange(0, 4 * count, 4)[:, None, None, None]
    stored[:, :, 256:] = 255
    times = [Fraction(index, rate) for index in range(count)]
    path = made(folder / "phone.mp4", stored, times.__getitem__, rate, "libx264rgb", options={"qp": "0"}, rotation=90)
    return path, torch.from_numpy(np.rot90(stored, axes=(1, 2)).copy()) / 255


@pytest.fixture(params=["file", "images"])
def phone(request, tmp_path):
    """A background that lasts as long as the speech, and its frames."""
    from comfy_api.latest import InputImpl, Types

    path, seen = by_a_phone(tmp_path)
    if request.param == "file":
        return InputImpl.VideoFromFile(str(path)), seen
    return InputImpl.VideoFromComponents(Types.VideoComponents(images=seen, frame_rate=Fraction(30))), seen


def test_a_background_is_upright_and_as_fast_as_it_was(pack, loaded, make, phone):
    """Of 30 frames a second every sixth is left out."""
    from dataclasses import replace

    frames = pack.joyhallo.faces.crops
    box = pack.joyhallo.faces.boxes.Box(160, 160, 352, 352)
    face = replace(loaded.face, crop=frames.Crop(loaded.face.crop.picture, box, (64, 64)))
    video, seen = phone
    found = make(face=face, picture="whole picture", background=video)[0].get_components().images
    behind = seen[[index for index in range(60) if index % 6 != 3]]
    assert torch.equal(found[:, :160], behind[:, :160])
    assert torch.equal(found[:, 352:], behind[:, 352:])


def test_the_size_of_a_background_is_that_of_what_is_seen(make, tmp_path):
    from comfy_api.latest import InputImpl

    path = made(tmp_path / "film.mp4", numbered(3, (64, 32)), codec="libx264rgb", rotation=90)
    with pytest.raises(ValueError, match="The background is 32x64 pixels, but the picture is 512x512"):
        make(background=InputImpl.VideoFromFile(str(path)), picture="whole picture")


# ---- what is saved


def test_a_video_from_a_phone_is_saved_upright_in_step_and_at_its_own_rate(pack, tmp_path):
    """Its rate varies: ten frames in the first second, forty in the second."""
    from comfy_api.latest import InputImpl

    at = [Fraction(index, 10) for index in range(10)] + [1 + Fraction(index, 40) for index in range(40)]
    stored = numbered(50, (64, 32))
    path = made(tmp_path / "film.mp4", stored, at.__getitem__, codec="libx264rgb", options={"qp": "0"}, rotation=270)
    footage = pack.nodes.video.Footage.of(InputImpl.VideoFromFile(str(path)))
    assert (footage.size, footage.count) == ((32, 64), 50)
    assert footage.rate == pytest.approx(25, rel=0.02)
    found = torch.cat(list(footage.batches))
    assert found.shape == (50, 64, 32, 3)
    shown = (found[:, 0, 0, 0] * 255).round().int().tolist()
    begun = [int(time * footage.rate + Fraction(1, 2)) for time in at]
    assert shown == [max(index for index in range(50) if begun[index] <= place) for place in range(50)]
