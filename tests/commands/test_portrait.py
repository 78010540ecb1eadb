"""talk --model: JoyHallo's own way on the command line, with small seeded networks that lie beside each other."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile
from conftest import entries
from PIL import Image
from redub_files import ULTRALIGHT

from joyhallo.commands import portrait
from joyhallo.commands.places import DEMO_MODEL
from joyhallo.files import space
from joyhallo.film.marks import read_marks
from joyhallo.film.read import Film
from joyhallo.methods.hallo.sampling import Sampler
from tools.demo_model.seeded import write_autoencoder, write_encoder, write_net
from tools.short_rows import RATE

QUICK = "--size", 64, "--steps", 1, "--cfg", 1, "--quality", "small"
FRAMES = 20  # of two chunks


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A network with its own VAE and speech encoder, as the small model of the pack lies there."""
    folder = tmp_path_factory.mktemp("small")
    write_net(folder / "net.safetensors")
    write_autoencoder(folder / "vae.safetensors")
    write_encoder(folder / "wav2vec2")
    return folder


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """A tone, and then a pause."""
    path, time = tmp_path_factory.mktemp("spoken") / "sentence.wav", np.arange(FRAMES * RATE // 25) / RATE
    soundfile.write(path, 0.4 * np.sin(2 * np.pi * 200 * time) * (time < 0.4), RATE)
    return path


@pytest.fixture(scope="module")
def wide(material, tmp_path_factory):
    """A picture with room beside the face, and its masks: a square around the face does not cover it."""
    folder = tmp_path_factory.mktemp("wide")
    for name, mode, around in (("anna", "RGB", "gray"), ("lips", "L", 0), ("face", "L", 0)):
        image = Image.new(mode, (256, 128), around)
        image.paste(Image.open(material / f"{name}.png"))
        image.save(folder / f"{name}.png")
    return folder


def masks(folder):
    return "--lip-mask", folder / "lips.png", "--face-mask", folder / "face.png"


@pytest.fixture
def talk(run, wide, small, spoken):
    """A name, options -> code, result and errors of talk, and the film's frames if there is one."""

    drawn = "--identity", "neutral", *masks(wide)

    def talk(output, *more, model=small / "net.safetensors", drawn=drawn):
        given = "talk", wide / "anna.png", spoken, "-o", output, "--model", model, "--json", *QUICK, *drawn
        code, out, err = run(*given, *more)
        frames = np.stack(list(Film(output).pictures())) if code == 0 else None
        return code, json.loads(out or "{}"), err, frames

    return talk


def test_frames_are_made_and_put_into_the_picture(talk, wide, tmp_path):
    code, told, err, frames = talk("a.mkv", "--sway", 2)
    still = np.asarray(Image.open(wide / "anna.png"))
    assert (code, told["frames"], told["size"], told["not_used"]) == (0, FRAMES, [256, 128], "sway")
    assert told["model"] == "JoyHallo, 64 pixels, 1 x ddim"
    assert "Making:  50 %, 10 of 20 frames" in err, "of the first of two chunks, a step counts as 10 frames"
    assert frames.shape == (FRAMES, *still.shape)
    assert (frames != still).any((1, 2, 3)).all()
    assert (frames[:, :, 130:] == still[:, 130:]).all(), "beside the square is the picture"
    assert "made by AI, by ComfyUI-JoyHallo" in str(read_marks(tmp_path / "a.mkv"))
    assert [path.name for path in tmp_path.iterdir()] == ["a.mkv"]


def test_options_reach_the_network(talk):
    made = {
        name: talk(f"{number}.mkv", *more)[-1]
        for number, (name, more) in enumerate({
            "usual": (),
            "seed": ("--seed", 7),
            "in the pause": ("--rest-in-pauses", "yes"),
            "from a time on": ("--lip-weight", "0: 1, 0.6: 1 -> 0"),
            "after a chunk": ("--overlap", 2, "--hold-colours", "yes"),
        }.items())
    }  # fmt: skip
    usual = made.pop("usual")
    first = {name: int(np.flatnonzero((frames != usual).any((1, 2, 3)))[0]) for name, frames in made.items()}
    assert first == {"seed": 0, "in the pause": 0, "from a time on": 0, "after a chunk": 16}


def test_a_stopped_film_goes_on_where_it_was(talk, monkeypatch, tmp_path):
    usual, begun, prepare_chunk = talk("usual.mkv")[-1], [], Sampler.prepare_chunk

    def stopped(sampler, windows, start, motion):
        begun.append(start)
        if len(begun) == 2:
            raise KeyboardInterrupt
        return prepare_chunk(sampler, windows, start, motion)

    monkeypatch.setattr(Sampler, "prepare_chunk", stopped)
    assert talk("c.mkv")[0] == 130
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["c.mkv.unfinished"]
    assert len(list((tmp_path / "c.mkv.unfinished").iterdir())) == 1
    assert not (tmp_path / "c.mkv").exists()
    frames = talk("c.mkv")[-1]
    assert begun == [0, 16, 16]
    assert (frames == usual).all()
    assert not (tmp_path / "c.mkv.unfinished").exists()


@pytest.mark.parametrize(
    ("model", "more", "words"),
    [
        ("ultralight", (), "Expected a checkpoint of JoyHallo or Hallo"),
        ("vae", (), "Expected a checkpoint of JoyHallo or Hallo"),
        ("nix.pth", (), "one of these names: joyhallo/net.pth, hallo/net.pth, demo"),
        ("joyhallo/net.pth", (), "chinese-wav2vec2-base (377 MB, from https://huggingface.co/"),
        ("small", ("--identity", "from the picture"), "--identity neutral does without"),
        ("small", ("--vae", "OTHER/vae.safetensors"), "the model was trained with a VAE as Stable Diffusion's of 4"),
        (
            "small",
            ("--audio-encoder", "OTHER/wav2vec2"),
            "4 layers of 64 channels, but this model takes 3 layers of 16",
        ),
        ("small", ("--lip-weight", "0: 1, 1: 9"), "not a number from 0 to 3"),
        ("small", ("--lip-weight", "9"), "expected a number from 0 to 3, or keyframes"),
        ("small", ("--size", "100"), "try 128x128"),
        ("small", ("--background", "FILM"), "the picture is 256x128"),
        ("small", ("--square", "yes", "--background", "FILM"), "would hide the --background"),
        ("small", ("--separate-vocals", "on"), "Kim_Vocal_2.onnx"),
    ],
    ids=lambda value: "" if isinstance(value, str) else " ".join(value),
)
def test_what_does_not_fit_is_told_before_the_network_runs(talk, small, model, more, words, tmp_path, models):
    if "FILM" in more:
        Image.new("RGB", (64, 64)).save(tmp_path / "other.png")
    files = {"small": small / "net.safetensors", "vae": small / "vae.safetensors", "ultralight": models / ULTRALIGHT}
    given = [str(part).replace("OTHER", str(DEMO_MODEL)).replace("FILM", "other.png") for part in more]
    code, told, err, _ = talk("a.mp4", *given, model=files.get(model, model))
    assert (code, "Traceback" in err) == (2, False), err
    assert words in err
    assert told.get("error", words) in err
    assert not (tmp_path / "a.mp4").exists()


def test_too_little_room_is_told_before_a_frame_is_made(talk, monkeypatch, tmp_path):
    def never(*_):
        raise AssertionError("The network ran.")

    monkeypatch.setattr(Sampler, "prepare_chunk", never)
    monkeypatch.setattr(portrait, "memory_of", lambda device: 1 << 20)
    code, _, err, _ = talk("a.mkv")
    assert (code, "Denoising at 64x64 needs " in err, "choose a smaller size" in err) == (2, True, True), err
    monkeypatch.setattr(portrait, "memory_of", lambda device: 1 << 60)
    monkeypatch.setattr(space, "free", lambda folder: space.MARGIN)
    for more, words in (((), "MB for the frames and "), (("--no-resume",), "MB for the frames, and another")):
        code, _, err, _ = talk("a.mkv", *more)
        assert (code, words in err) == (2, True), err
    assert "finished chunks" in talk("a.mp4")[2]
    assert not (tmp_path / "a.mkv").exists()


def test_what_is_missing_is_fetched_at_once(talk, tmp_path, monkeypatch):
    asked = {}
    monkeypatch.setattr("joyhallo.commands.shelf.fetch", lambda files, progress: asked.update(files))
    code, *_ = talk("a.mp4", "--fetch", "--models", tmp_path, model="hallo/net.pth", drawn=())
    assert code == 2
    assert {path.relative_to(tmp_path).parts[0] for path in asked} == {
        "hallo", "sd-vae-ft-mse", "wav2vec", "face_analysis"}  # fmt: skip


def test_rows_of_a_table(run, wide, small, spoken, tmp_path):
    table = tmp_path / "table.csv"
    neutral = f"{wide / 'lips.png'},{wide / 'face.png'},neutral"
    table.write_text(
        "picture,sound,output,lip_mask,face_mask,identity,model,steps,lip_weight\n"
        f'{wide / "anna.png"},{spoken},model,{neutral},{small / "net.safetensors"},1,"0: 1, 0.4: 0"\n'
        f"{wide / 'anna.png'},{spoken},puppet,{neutral},,,\n",
        encoding="utf-8",
    )
    size = "--set", "size=64", "--set", "cfg=1"
    code, _, err = run("batch", table, "-o", "films", *size)
    assert code == 0, err
    by_name = {entry["file"]: entry for entry in entries(tmp_path / "films")}
    assert "JoyHallo" in by_name["model.mp4"]["model"]
    assert "model" not in by_name["puppet.mp4"]
    assert by_name["model.mp4"]["frames"] == by_name["puppet.mp4"]["frames"] == FRAMES
    table.write_text(table.read_text(encoding="utf-8").replace("0.4: 0", "0.4 0"), encoding="utf-8")
    assert run("batch", table, "-o", "films", *size)[0] == 1
    assert "is not a keyframe" in entries(tmp_path / "films")[-1]["error"]
