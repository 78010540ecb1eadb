"""talk, redub, track and models: what they make, what they say, and what they refuse."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from redub_files import ULTRALIGHT
from shared import REPOSITORY

from joyhallo.commands.media import Source, is_still
from joyhallo.commands.places import PlaceError
from joyhallo.film.marks import read_marks
from joyhallo.film.read import Film


def frames(path):
    return np.stack(list(Film(path).pictures()))


def test_a_picture_speaks(run, material, masks, tmp_path):
    code, out, err = run(
        "talk", material / "anna.png", material / "hello.wav", "-o", "a.mkv", *masks, "--json", "--quality", "small"
    )
    told = json.loads(out)
    assert (code, told["frames"], told["seconds"], told["seed"]) == (0, 5, 0.2, 42)
    assert "Making" in err
    film, still = frames(tmp_path / "a.mkv"), np.asarray(Image.open(material / "anna.png"))
    assert film.shape == (5, *still.shape)
    assert (film[-1] != still).any()
    assert (film[:, :4] == still[:4]).all(), "what does not move is the picture"
    assert "made by AI, by ComfyUI-JoyHallo" in str(read_marks(tmp_path / "a.mkv"))


def test_options_reach_the_puppet(run, material, masks, tmp_path):
    made = {}
    for name, more in {"usual": (), "again": (), "seed": ("--seed", 7), "still": ("--strength", 0)}.items():
        assert run("talk", material / "anna.png", material / "hello.wav", "-o", f"{name}.mkv", *masks, *more)[0] == 0
        made[name] = frames(tmp_path / f"{name}.mkv")
    assert (made["usual"] == made["again"]).all()
    assert (made["usual"] != made["seed"]).any()
    assert (made["usual"] != made["still"]).any()


def test_a_visible_label_is_in_the_corner(run, material, masks, tmp_path):
    for name, label in (("with", "en"), ("without", "off")):
        picture, sound = material / "anna.png", material / "hello.wav"
        assert run("talk", picture, sound, "-o", f"{name}.mkv", *masks, "--label", label)[0] == 0
    with_it, without = (frames(tmp_path / f"{name}.mkv") for name in ("with", "without"))
    changed = (with_it != without).any((0, 3))
    assert changed[:30, :100].any()
    assert not changed[40:].any()


def test_nothing_is_replaced_unless_that_is_wished(run, material, masks, tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"dear")
    code, _, err = run("talk", material / "anna.png", material / "hello.wav", "-o", "a.mp4", *masks)
    assert code == 2
    assert "already exists" in err
    assert (tmp_path / "a.mp4").read_bytes() == b"dear"
    assert run("talk", material / "anna.png", material / "hello.wav", "-o", "a.mp4", *masks, "--force")[0] == 0
    assert len(frames(tmp_path / "a.mp4")) == 5
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"picture": "none.png"}, "none.png does not exist"),
        ({"picture": "hello.wav"}, "cannot be read as a picture"),
        ({"sound": "none.wav"}, "none.wav does not exist"),
        ({"sound": "broken.wav"}, "cannot be read as sound"),
        ({"-o": "a.avi"}, "expected one of .mp4"),
        ({"-o": "a"}, "has no ending"),
        ({"--sway": "9"}, "expected a number from 0 to 3"),
        ({"--sway": "nan"}, "expected a number from 0 to 3"),
        ({"--seed": "x"}, "expected a whole number"),
        ({"--label": "no"}, "expected one of off, zh"),
        ({"--lip-mask": "none.png"}, "does not exist"),
    ],
    ids=str,
)
def test_mistakes_are_told_in_a_sentence(run, material, masks, tmp_path, changes, words):
    given = {"picture": "anna.png", "sound": "hello.wav", "-o": "a.mp4", **changes}
    inputs = [material / given.pop(name) for name in ("picture", "sound")]
    options = [part for pair in given.items() for part in pair]
    code, _, err = run("talk", *inputs, *masks, *options)
    assert (code, "Traceback" in err) == (2, False)
    assert words in err
    assert not list(tmp_path.iterdir())


def test_without_a_face_finder_it_says_how_to_get_one(run, material):
    code, out, err = run("talk", material / "anna.png", material / "hello.wav", "-o", "a.mp4", "--json")
    assert code == 2
    assert "--fetch" in err
    assert "--landmarker FILE" in err
    assert json.loads(out)["error"] in err


def test_a_failure_of_ours_keeps_its_traceback(run, material, masks, monkeypatch):
    monkeypatch.setattr("joyhallo.commands.single.make", lambda job, progress: {}["our fault"])
    with pytest.raises(KeyError, match="our fault"):
        run("talk", material / "anna.png", material / "hello.wav", "-o", "a.mp4", *masks)


@pytest.mark.parametrize("begun", [False, True])
def test_exit_codes_tell_what_was_not_begun_from_what_failed(run, material, masks, monkeypatch, begun):
    def make(job, progress):
        progress("Making", 1, 5) if begun else None
        raise OSError("the disk is gone")

    monkeypatch.setattr("joyhallo.commands.single.make", make)
    code, _, err = run("talk", material / "anna.png", material / "hello.wav", "-o", "a.mp4", *masks)
    assert code == (1 if begun else 2)
    assert "the disk is gone" in err


def test_an_interrupt_leaves_nothing(run, material, masks, monkeypatch, tmp_path):
    from joyhallo.commands import talk

    def perform(puppet, pose):
        yield from list(real(puppet, pose))[:1]
        raise KeyboardInterrupt

    real = talk.perform
    monkeypatch.setattr(talk, "perform", perform)
    code, _, err = run("talk", material / "anna.png", material / "hello.wav", "-o", "a.mp4", *masks)
    assert code == 130
    assert "Stopped" in err
    assert not list(tmp_path.iterdir())


# ---- redub

BOX = "--box", "40,40,90,100"


def test_a_video_is_redubbed_in_its_box_alone(run, material, models, model, tmp_path):
    given = "redub", material / "film.mkv", material / "你好.wav", "-o", "r.mkv", "--model", model, "--models", models
    code, out, _ = run(*given, *BOX, "--json", "--quality", "small", "--guidance", 2)
    told = json.loads(out)
    assert (code, told["frames"], told["without_a_face"]) == (0, 5, [])
    assert told["model"] == "Ultralight, 168 pixels"
    assert told["not_used"] == "guidance"
    before, after = frames(material / "film.mkv")[:5], frames(tmp_path / "r.mkv")
    changed = (before != after).any((0, 3))
    assert changed[60:90, 50:80].any()
    assert not changed[:30].any()
    assert not changed[:, :20].any()


def test_marks_of_the_source_are_kept(run, material, models, model, tmp_path):
    run("talk", material / "anna.png", material / "hello.wav", "-o", "one.mp4",
        "--lip-mask", material / "lips.png", "--face-mask", material / "face.png")  # fmt: skip
    first = read_marks(tmp_path / "one.mp4")
    given = "redub", "one.mp4", material / "hello.wav", "-o", "two.mp4", "--model", model, "--models", models
    assert run(*given, *BOX)[0] == 0
    assert read_marks(tmp_path / "two.mp4").record == first.record


def test_a_picture_is_a_video_that_stays(run, material, models, model, tmp_path):
    given = "redub", material / "anna.png", material / "hello.wav", "-o", "r.mp4", "--model", model, "--models", models
    assert run(*given, *BOX)[0] == 0
    assert len(frames(tmp_path / "r.mp4")) == 5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--model", "nix.pth"), "is not a file"),
        (("--model", "wav2lip/wav2lip_gan.pth"), "436 MB, from https://huggingface.co/"),
        (("--model", "MATERIAL/anna.png"), "neither a PyTorch file nor a safetensors file"),
        (("--model", "MODEL", "--box", "500,0,600,10"), "lies outside the video's 128x128 pixels"),
        (("--model", "MODEL", "--box", "9,9,3,3"), "expected left,top,right,bottom"),
        (("--model", "MODEL", "--hubert", "nix.bin"), "speech encoder nix.bin does not exist"),
        (("--model", "MODEL", "--device", "cuda"), "no graphics card"),
        (("--model", "MODEL", "--version", "1.6"), "Ultralight of a version 1.6 is not known"),
        (("--model", "MODEL", "--models", "elsewhere"), "Ultralight needs hubert-large-ls960-ft"),
        (("--model", "MODEL", "--detector", "InsightFace"), "--face-models FOLDER"),
        (("--model", "MODEL"), "--box or --mask"),
    ],
    ids=lambda value: " ".join(value[2:] or value) if isinstance(value, tuple) else "",
)
def test_what_a_redub_lacks_is_told(run, material, models, model, options, words):
    if "cuda" in options and torch.cuda.is_available():
        pytest.skip("there is a graphics card")
    given = [part.replace("MODEL", str(model)).replace("MATERIAL", str(material)) for part in options]
    box = BOX if not {"--box", "InsightFace"} & set(options) and options != ("--model", "MODEL") else ()
    code, _, err = run(
        "redub", material / "film.mkv", material / "hello.wav", "-o", "r.mp4", "--models", models, *box, *given
    )
    assert code == 2
    assert words in err


def test_track_is_not_told_of_options_that_it_lacks(run, material, models):
    code, _, err = run("track", material / "film.mkv", "--models", models)
    assert (code, "--landmarker FILE." in err) == (2, True)


# ---- models, help


def test_models_are_listed_and_told_apart(run, models):
    code, out, _ = run("models", "--models", models, "--json")
    rows = {row["name"]: row for row in json.loads(out)["models"]}
    assert code == 0
    assert rows["hubert-large-ls960-ft/pytorch_model.bin"]["there"]
    assert not rows["wav2lip/wav2lip_gan.pth"]["there"]
    assert rows[ULTRALIGHT]["purpose"] == "redub: Ultralight"
    assert "no commercial use" in rows["wav2lip/wav2lip_gan.pth"]["licence"]
    code, out, _ = run("models", "--models", models)
    assert (code, "missing  wav2lip/wav2lip_gan.pth" in out) == (0, True)


def test_fetching_asks_for_what_is_missing_and_its_parts(run, models, monkeypatch):
    asked = {}
    monkeypatch.setattr("joyhallo.commands.shelf.fetch", lambda files, progress: asked.update(files))
    code, _, _ = run("models", "--models", models, "--fetch", "latentsync-1.6/latentsync_unet.pt", "--fetch", "hubert")
    assert code == 0
    assert {path.relative_to(models).as_posix() for path in asked} == {
        "latentsync-1.6/latentsync_unet.pt",
        "sd-vae-ft-mse/diffusion_pytorch_model.safetensors",
        "whisper-tiny/model.safetensors",
    }
    code, _, err = run("models", "--fetch", "nonsense")
    assert (code, "Nothing is published as nonsense" in err) == (2, True)


def test_help_comes_at_once_and_teaches():
    program = (
        "import sys\nfrom joyhallo.commands import main\ntry: main()\nexcept SystemExit: pass\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    for given in ([], ["--help"], ["talk", "--help"], ["redub", "--help"], ["batch", "--help"], ["track", "--help"]):
        done = subprocess.run([sys.executable, "-c", program, *given], capture_output=True, text=True, cwd=REPOSITORY)
        assert done.returncode == 0, done.stderr
        assert "python -m joyhallo" in done.stdout
        assert len(given) < 2 or f"python -m joyhallo {given[0]} " in done.stdout.partition("examples:")[2]


def test_convert_and_score_are_other_programs(monkeypatch):
    from types import ModuleType

    from joyhallo import commands

    asked = []
    for name in ("joyhallo.convert", "joyhallo.evaluation.__main__"):
        module = ModuleType(name)
        module.main = lambda arguments, name=name: asked.append((name, arguments)) or 7
        monkeypatch.setitem(sys.modules, name, module)
    assert commands.main(["convert", "a.pth", "-o", "b"]) == 7
    assert commands.main(["score", "films", "--help"]) == 7
    assert asked == [
        ("joyhallo.convert", ["a.pth", "-o", "b"]),
        ("joyhallo.evaluation.__main__", ["films", "--help"]),
    ]


def test_an_output_that_lacks_letters_shows_them_as_escapes(tmp_path):
    """A file that a command of Windows is redirected to has the letters of its region alone."""

    def printed(*given):
        command = [sys.executable, "-m", "joyhallo", *given]
        few = os.environ | {"PYTHONIOENCODING": "cp1252"}
        return subprocess.run(command, capture_output=True, cwd=REPOSITORY, env=few).stdout.decode("cp1252")

    assert r"portraits/\u738b\u82b3.jpg" in printed("batch", "--help")
    told = printed("talk", str(tmp_path / "王芳.jpg"), "-o", "film.mp4", "speech.wav", "--json")
    assert "王芳.jpg" in json.loads(told)["error"]


def test_a_picture_that_moves_is_a_video_or_refused(tmp_path):
    shades = [Image.new("L", (32, 24), 60 * number) for number in range(4)]
    for name in ("moving.gif", "moving.webp", "still.gif"):
        shades[0].save(tmp_path / name, save_all=name != "still.gif", append_images=shades[1:], duration=100)
    moving = Source.of(tmp_path / "moving.gif")
    assert [int(picture[0, 0, 0]) for picture in moving.read(0)] == [0, 60, 120, 180]
    assert (moving.rate, Source.of(tmp_path / "still.gif").count) == (10, 1)
    assert [is_still(tmp_path / f"{name}.gif") for name in ("moving", "still")] == [False, True]
    with pytest.raises(PlaceError, match="Convert it, to MP4"):
        Source.of(tmp_path / "moving.webp")
