"""LatentSync, MuseTalk and Ultralight behind the same nodes: their files are found, and a film speaks, resumed too."""

from __future__ import annotations

import shutil

import pytest
import redub_files
import torch
from redub_files import LATENTSYNC, MUSETALK, ULTRALIGHT
from test_redub_lips import FRAMES, bytes_of, film, ours, redub, sound, track  # noqa: F401  fixtures among them

from tools.demo_model.bundle import FOLDER as DEMO_MODEL

QUICK = {"steps": 2}
SEVERAL = 0.68  # seconds of sound: 17 frames, which is more than the film has, and one more than a window
BRIEF = 0.12


def hiss() -> dict:
    noise = torch.randn(1, 1, round(BRIEF * 16_000), generator=torch.Generator().manual_seed(1))
    return {"waveform": 0.1 * noise, "sample_rate": 16_000}


@pytest.fixture(scope="module")
def folder(pack, tmp_path_factory):
    """Files as they are published, in a folder of models that ComfyUI knows."""
    import folder_paths

    place = tmp_path_factory.mktemp("models")
    redub_files.write_all(place)
    redub_files.write_ultralight(place)
    folder_paths.add_model_folder_path("joyhallo", str(place))
    yield place
    folder_paths.folder_names_and_paths["joyhallo"][0].remove(str(place))
    folder_paths.filename_list_cache.clear()


@pytest.fixture(scope="module")
def load(pack, folder):
    def load(name, **given):
        given = {"weight_dtype": "fp32", "download": False, **given}
        return pack.nodes.load_redub_model.LoadRedubModel.execute(model=name, **given).args[0]

    return load


@pytest.fixture(scope="module")
def models(load):
    return {name: load(name) for name in (LATENTSYNC, MUSETALK, ULTRALIGHT)}


@pytest.fixture(scope="module")
def made() -> dict:
    """What others have made already."""
    return {}


@pytest.fixture
def usual(models, made, film, track, redub):  # noqa: F811
    def usual(name):
        if name not in made:
            made[name] = redub(models[name], film, hiss(), face_track=track(), **QUICK)
        return made[name]

    return usual


@pytest.mark.parametrize("name", [LATENTSYNC, MUSETALK, ULTRALIGHT])
@pytest.mark.parametrize("seconds", [0.2, SEVERAL])
def test_a_film_speaks_for_as_long_as_the_sound(models, film, track, redub, name, seconds):  # noqa: F811
    made = redub(models[name], film, sound(seconds), face_track=track(missing=(3,)), **QUICK)
    count = round(25 * seconds)
    assert made.frames.shape == (count, *film.shape[1:])
    shown = bytes_of(film)[torch.arange(count) % FRAMES]
    changed = made.mask[..., 0] > 0
    assert not (made.frames != shown)[~changed].any(), "outside of what is made anew nothing changes"
    spoken = [number for number in range(count) if number % FRAMES != 3]
    assert all((made.frames[number] != shown[number])[changed[number]].float().mean() > 0.5 for number in spoken)
    assert torch.equal(made.frames[3], shown[3])
    assert torch.equal(made.sound["waveform"], sound(seconds)["waveform"])


def test_what_is_loaded_is_told(models, film, track, redub):  # noqa: F811
    for name, title in ((LATENTSYNC, "LatentSync 1.5 of 256 pixels"), (MUSETALK, "MuseTalk 1.5 of 256 pixels")):
        told = redub(models[name], film, hiss(), face_track=track(), strength=0.5, **QUICK).report
        assert title in told
        assert all(f"{word} " in told for word in ("vae", "whisper"))
        assert "strength" in told.partition("Not used")[2].splitlines()[0]
    told = redub(models[ULTRALIGHT], film, hiss(), face_track=track(), guidance=2.0, **QUICK).report
    assert "Ultralight of 168 pixels" in told
    assert "hubert " in told
    assert "guidance" in told.partition("Not used")[2].splitlines()[0]


def test_versions_are_chosen_or_guessed(load, ours):  # noqa: F811
    assert load(MUSETALK, version="1.0").version == "1.0"
    assert load(LATENTSYNC, version="1.6").redubber(99, ours("joyhallo.methods.redub").Wishes()).size == 512
    with pytest.raises(ValueError, match=r"version 1\.6"):
        load(MUSETALK, version="1.6")


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        (LATENTSYNC, {"seed": 43}),
        (LATENTSYNC, {"steps": 3}),
        (LATENTSYNC, {"guidance": 3.0}),
        (LATENTSYNC, {"area": "mask3"}),
        (LATENTSYNC, {"reuse": 2}),
        (LATENTSYNC, {"solver": "unipc"}),
        (LATENTSYNC, {"sync_offset": 80.0}),
        (MUSETALK, {"area": "raw"}),
        (MUSETALK, {"pad_bottom": 20}),
        (MUSETALK, {"sync_offset": 80.0}),
        (ULTRALIGHT, {"strength": 0.5}),
        (ULTRALIGHT, {"shift": 6}),
        (ULTRALIGHT, {"sync_offset": 80.0}),
        (ULTRALIGHT, {"smoothing": "centred"}),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else value.partition("/")[0],
)
def test_its_wishes_change_frames(models, film, track, redub, usual, name, changes):  # noqa: F811
    other = redub(models[name], film, hiss(), face_track=track(), **{**QUICK, **changes})
    assert (usual(name).frames != other.frames).any()


def test_an_area_of_another_method_is_refused(models, film, track, redub):  # noqa: F811
    for name, area in ((LATENTSYNC, "jaw"), (MUSETALK, "mask2")):
        with pytest.raises(RuntimeError, match=f"knows no area {area}"):
            redub(models[name], film, sound(0.2), face_track=track(), area=area)


def test_a_face_parser_is_used_where_its_file_is(load, folder, models, film, track, redub):  # noqa: F811
    """An untrained one, which sees other things than the mesh says."""
    redub_files.write_parser(folder)
    with_it, in_half = load(MUSETALK), load(MUSETALK, weight_dtype="fp16")
    shutil.rmtree(folder / "face-parse-bisent")
    assert with_it.parts.keys() == {"vae", "whisper", "parser"}
    plain, other, half = (redub(one, film, hiss(), face_track=track()) for one in (models[MUSETALK], with_it, in_half))
    assert torch.equal(half.mask, other.mask), "it sees as well beside a network in half precision"
    assert (plain.mask != other.mask).any()
    shown = bytes_of(film)[: len(other.frames)]
    assert not (other.frames != shown)[other.mask[..., 0] == 0].any()


@pytest.mark.parametrize("weight_dtype", ["fp16", "bf16"])
@pytest.mark.parametrize("name", [LATENTSYNC, MUSETALK, ULTRALIGHT])
def test_half_precision_makes_nearly_the_same(load, usual, film, track, redub, name, weight_dtype):  # noqa: F811
    half = redub(load(name, weight_dtype=weight_dtype), film, hiss(), face_track=track(), **QUICK)
    off = (half.frames.float() - usual(name).frames.float()).abs()
    assert 0 < off.mean() < 2


def test_another_vae_is_refused(pack, load):
    vae = pack.nodes.autoencoder.load_vae(DEMO_MODEL / "vae.safetensors")
    with pytest.raises(ValueError, match="sd-vae-ft-mse"):
        load(MUSETALK, vae=vae)


def test_what_is_missing_is_listed(load, folder):
    (folder / "whisper-tiny/model.safetensors").rename(folder / "elsewhere")
    try:
        with pytest.raises(FileNotFoundError, match=r"(?s)1 of the chosen models.*whisper-tiny.*151 MB"):
            load(LATENTSYNC)
    finally:
        (folder / "elsewhere").rename(folder / "whisper-tiny/model.safetensors")


def test_cut_off_within_a_step_it_goes_on_bit_for_bit(models, film, track, redub, monkeypatch):  # noqa: F811
    import comfy.model_management as manager

    model, calls = models[LATENTSYNC], []
    forward = type(model.network).forward

    def watched(self, *given, **more):
        calls.append(1)
        if len(calls) == interrupted:
            manager.interrupt_current_processing()
        return forward(self, *given, **more)

    monkeypatch.setattr(type(model.network), "forward", watched)
    interrupted = 0
    whole = redub(model, film, sound(SEVERAL), face_track=track(), **QUICK)
    each, interrupted = len(calls), len(calls) // 2 + 1  # in the second window
    calls.clear()
    with pytest.raises(manager.InterruptProcessingException):
        redub(model, film, sound(SEVERAL), face_track=track(), resume=True, **QUICK)
    assert len(calls) == interrupted, "nothing more than the step it was in"
    calls.clear()
    interrupted = -1
    again = redub(model, film, sound(SEVERAL), face_track=track(), resume=True, **QUICK)
    assert 0 < len(calls) <= each // 2 + 1, "the first window was kept"
    assert torch.equal(again.frames, whole.frames)
