"""Whole runs of training, of a network of 100 000 weights, from a folder of clips to a model that is sampled."""

import itertools
import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace

import clips
import pytest
import small
import torch
from accelerate.state import AcceleratorState
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from filmed import film
from safetensors.torch import load_file
from shared import REPOSITORY

from joyhallo.data.dataset import open_dataset, read_manifest, write_manifest
from joyhallo.data.models import Models
from joyhallo.data.prepare import Shares, prepare
from joyhallo.data.steps import Preparation
from joyhallo.diffusion.codec import PatchCodec, load_codec
from joyhallo.files.contents import WeightsError
from joyhallo.files.space import RoomError
from joyhallo.methods.hallo import sampling
from joyhallo.methods.hallo.checkpoint import load_checkpoint, open_checkpoint
from joyhallo.training import checkpoints, trainer
from joyhallo.training.__main__ import RECIPES, main
from joyhallo.training.average import Average
from joyhallo.training.checkpoints import CheckpointsError
from joyhallo.training.recipe import RecipeError, build, flat, rate, read_recipe
from joyhallo.training.report import read
from joyhallo.training.samples import (
    Batch,
    Conditions,
    Numbers,
    Samples,
    choose,
    collate,
    conditions,
    fitting,
    seeded,
    shortest,
)
from joyhallo.training.stage import encoded
from joyhallo.training.start import begin, sizes
from joyhallo.training.trainer import TrainingError, train
from joyhallo.training.validation import beside_truth, generated
from joyhallo.training.validation import main as validate
from tools.demo_model.seeded import AUTOENCODER, autoencoder_weights, save

pytestmark = pytest.mark.slow

SIZES = {"channels": [8, 16], "layers": 1, "heads": 2, "norm_groups": 4, "face_width": 16, "audio_layers": 2,
         "audio_channels": 8, "audio_hidden": 32, "audio_tokens": 4, "audio_width": 16,
         "locator_channels": [8, 8, 16, 16]}  # fmt: skip
FOUR_LEVELS = {**SIZES, "channels": [8, 8, 16, 16]}  # as the sampler needs, for the masks that a dataset holds
NET = sizes(FOUR_LEVELS)
COMPARED = ("step", "loss", "mse", "grad_norm")


def across(seconds: float) -> tuple[float, float]:
    return 0.4 + 0.1 * seconds, 0.5


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    """Four videos, prepared as a user would: three to train with, one to validate with."""
    folder = tmp_path_factory.mktemp("training")
    for place, (name, frames) in enumerate({"anna": 30, "carl": 40, "dora": 33, "kim": 25}.items()):
        film(folder / "videos" / f"{name}.mp4", frames / 25, voice=150 + 40 * place, way=across)
    codec = PatchCodec.fit(clips.pictures("all", 4), clips.CHANNELS)
    save(codec.tensors(), folder / "codec.safetensors")
    models = Models(encoder="filmed:ear", finders="filmed:green", codec=str(folder / "codec.safetensors"))
    prepare(
        [folder / "videos"], folder / "data", models, Preparation(size=clips.SIZE, validation=0.25), Shares(workers=0)
    )
    return folder


def table(ground, name: str, **more) -> dict:
    told = {
        "name": name,
        "stage": "clips",
        "output": str(ground / "runs"),
        "device": "cpu",
        "steps": 4,
        "net": SIZES,
        "data": {"folder": str(ground / "data"), "batch": 2, "workers": 0, "frames": 4},
        "codec": {"path": str(ground / "codec.safetensors")},
        "drop": {"reference": 0.2, "audio": 0.2, "start": 0.3},
        "optimizer": {"learning_rate": 1e-3},
        "save": {"every": 2, "log_every": 1},
    }
    for key, value in more.items():
        told[key] = {**told[key], **value} if isinstance(told.get(key), dict) else value
    return told


def recipe(ground, name: str, **more):
    return build(table(ground, name, **more))


def pictures(ground, name: str, **more):
    return recipe(ground, name, **{"stage": "pictures", "train": ["appearance"], "drop": {"appearance": 0.3}, **more})


@pytest.fixture(scope="module")
def first(ground):
    """A finished first stage."""
    told = pictures(ground, "first", net=FOUR_LEVELS, average=0.5)
    assert train(told)
    return told.folder


@pytest.fixture(scope="module")
def second(ground, first):
    """A finished second stage, on top of it."""
    start = {"weights": str(first / checkpoints.MODEL)}
    wanted = {"every": 4, "samples": 2, "videos": 1, "frames": 5, "steps": 2}
    told = recipe(ground, "second", net={}, start=start, checkpointing=True, validation=wanted)
    assert train(replace(told, net={}))
    return told.folder


# ---- from clips to a model


def test_both_stages_and_a_sample(ground, first, second):
    """What training leaves is loaded as any other model is, and the sampler makes frames of it."""
    model = load_checkpoint(second / checkpoints.MODEL, dtype=torch.float32)
    assert model.config.net == NET
    assert model.config.schedule.beta_schedule == "linear"
    assert open_checkpoint(second / checkpoints.MODEL).dtype == torch.float16
    clip = open_dataset(ground / "data", "validation").clips[0]
    codec = load_codec(ground / "codec.safetensors")
    frames = generated(model, codec, clip, sampling.Settings(steps=2), 5)
    assert beside_truth(clip, frames).shape == (5, 3, clips.SIZE, 2 * clips.SIZE)
    assert frames.isfinite().all()
    assert frames.std() > 0


def test_each_stage_trains_its_part(first, second):
    """The second stage leaves every weight of the first as it was, to the last bit."""
    begun = load_file(first / checkpoints.MODEL)
    ended = load_file(second / checkpoints.MODEL)
    changed = {key for key in begun if not torch.equal(begun[key], ended[key])}
    assert changed
    assert all("audio" in key or "motion_modules" in key for key in changed)
    assert {key.split(".")[0] for key in changed} == {"audioproj", "denoising_unet"}


def test_what_the_averaged_model_is(first):
    """The checkpoint has the weights as they are, the model their average."""
    newest = checkpoints.place(first, 4)
    weights, average = load_file(newest / checkpoints.MODEL), load_file(newest / checkpoints.AVERAGE)
    model = load_file(first / checkpoints.MODEL)
    for key, tensor in average.items():
        assert torch.equal(model[key], tensor.half())
    assert any(not torch.equal(average[key], weights[key]) for key in average)


def test_validation_videos_come_from_a_process_of_their_own(second):
    found = sorted((second / "validation").glob("*.mp4"))
    assert [path.name[:12] for path in found] == ["00000004-kim"], (second / "validation" / "log.txt").read_text()
    assert not list((second / "validation").glob(".*"))
    assert [line["step"] for line in read(second / "metrics.jsonl") if "validation_loss" in line] == [4]


def test_without_clips_to_validate_with_a_run_says_so_and_at_its_end_where_the_model_goes(ground, tmp_path, caplog):
    data = shutil.copytree(ground / "data", tmp_path / "data")
    write_manifest(data, [replace(record, split="train") for record in read_manifest(data)])
    told = {"data": {"folder": str(data)}, "output": str(tmp_path / "runs"), "steps": 1, "validation": {"every": 1}}
    with caplog.at_level("INFO"):
        assert train(recipe(ground, "none", **told))
    assert "there will be no validation videos" in caplog.text
    assert "--validation 0." in caplog.text
    assert not (tmp_path / "runs/none/validation").exists()
    last = caplog.messages[-1]
    assert str(tmp_path / "runs/none/model.safetensors") in last
    assert "ComfyUI/models/joyhallo" in last


def test_a_first_stage_ends_with_the_option_that_begins_the_second(ground, tmp_path, caplog):
    with caplog.at_level("INFO"):
        assert train(pictures(ground, "one", output=str(tmp_path), steps=1))
    assert f"--set start.weights={tmp_path / 'one' / checkpoints.MODEL}" in caplog.messages[-1]


def test_a_video_that_cannot_be_made(ground, tmp_path, caplog):
    wrong = tmp_path / "model.safetensors"
    wrong.write_bytes(b"nothing")
    arguments = ["--dataset", str(ground / "data"), "--codec", str(ground / "codec.safetensors"), "-o", str(tmp_path)]
    assert validate([str(wrong), *arguments]) == 1
    assert "model.safetensors" in caplog.text


def test_pixels_instead_of_kept_latents(ground, tmp_path):
    """Encoded as they are needed: the first loss is finite, and depends on the codec."""
    data = shutil.copytree(ground / "data", tmp_path / "data")
    files = [{name: file for name, file in r.files.items() if name != "latents"} for r in read_manifest(data)]
    write_manifest(data, [replace(r, files=f) for r, f in zip(read_manifest(data), files, strict=True)])
    told = recipe(ground, "pixels", data={"folder": str(data)}, steps=1)
    assert train(told)
    with pytest.raises(RecipeError, match="codec"):
        train(replace(told, name="none", codec=replace(told.codec, path="")))


def test_latents_of_another_codec_are_noticed(ground, tmp_path):
    other = PatchCodec.fit(clips.pictures("others", 4), clips.CHANNELS, evenness=1.0)
    save(other.tensors(), tmp_path / "other.safetensors")
    told = recipe(ground, "other", codec={"path": str(tmp_path / "other.safetensors")})
    with pytest.raises(RecipeError, match="another codec"):
        trainer.prepare(told)
    save(PatchCodec.fit(clips.pictures("all", 4), 8).tensors(), tmp_path / "eight.safetensors")
    told = recipe(ground, "eight", codec={"path": str(tmp_path / "eight.safetensors")})
    with pytest.raises(RecipeError, match="latents of 8 channels"):
        trainer.prepare(told)


def test_latents_of_an_autoencoder(tmp_path):
    """Drawn from what diffusers makes of the pictures, with the noise that the sample brings."""
    save(autoencoder_weights(), tmp_path / "vae.safetensors")
    batch = Batch(*[torch.empty(0)] * 8, [], torch.empty(0), Conditions(*[torch.empty(0)] * 5))
    pictures, spread = clips.pictures("a", 2)[None] * 2 - 1, torch.randn(1, 2, 4, 8, 8)
    batch = batch._replace(pictures=pictures, latents=torch.empty(1, 0), spread=spread)
    found = encoded(batch, load_codec(tmp_path / "vae.safetensors", dtype=torch.float32))
    theirs = AutoencoderKL(**AUTOENCODER)
    theirs.load_state_dict({key: tensor.float() for key, tensor in autoencoder_weights().items()})
    with torch.no_grad():
        posterior = theirs.encode(pictures[0]).latent_dist
    torch.testing.assert_close(found[0], 0.18215 * (posterior.mean + posterior.std * spread[0]), rtol=1e-4, atol=1e-5)


# ---- going on


def compared(folder) -> list[dict]:
    return [{name: line[name] for name in COMPARED} for line in read(folder / "metrics.jsonl")]


@pytest.fixture
def another_precision():
    """Accelerate keeps one for a process."""
    AcceleratorState._reset_state()
    yield
    AcceleratorState._reset_state()


def test_a_killed_run_goes_on_as_if_nothing_had_happened(ground, another_precision):
    """A real process, killed between two checkpoints: same losses, same gradients, same model, to the last bit."""
    told = table(ground, "killed", average=0.9, accumulate=2, precision="bf16")
    path = ground / "killed.json.toml"
    path.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in flat(told).items()))
    command = [sys.executable, "-m", "joyhallo.training", str(path), "--set", "steps=100000", "--set", "data.workers=1"]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL)
    folder = ground / "runs" / "killed"
    while process.poll() is None and not any(line["step"] >= 3 for line in read(folder / "metrics.jsonl")):
        time.sleep(0.1)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    left = checkpoints.steps(folder)[-1]
    assert left >= 2

    steps = left + 2
    assert train(build({**told, "steps": steps}))
    assert train(build({**told, "steps": steps, "name": "whole"}))
    assert compared(folder) == compared(ground / "runs" / "whole")
    assert [line["step"] for line in read(folder / "metrics.jsonl")] == list(range(1, steps + 1))
    for file in (
        checkpoints.MODEL,
        f"checkpoints/{steps:08d}/{checkpoints.MODEL}",
        f"checkpoints/{steps:08d}/{checkpoints.AVERAGE}",
    ):
        assert (folder / file).read_bytes() == (ground / "runs" / "whole" / file).read_bytes(), file


def test_asked_to_stop_it_leaves_a_checkpoint(ground, monkeypatch):
    """As a cluster does before it takes the machine away, which asks all processes. The command tells that the run is
    not finished."""
    told = table(ground, "stopped", save={"every": 100}, steps=5, data={"workers": 1})
    make_step, made = trainer.make_step, []

    def step(run, coming):
        made.append(make_step(run, coming))
        if len(made) == 1:
            for worker in multiprocessing.active_children():
                worker.terminate()
        if len(made) == 3:
            signal.raise_signal(signal.SIGTERM)
        return made[-1]

    monkeypatch.setattr(trainer, "make_step", step)
    assert not train(build(told))
    assert checkpoints.steps(ground / "runs" / "stopped") == [3]
    assert train(build(told))
    assert len(made) == 5


def test_another_recipe_does_not_go_on(ground, first):
    told = pictures(ground, "first", net=FOUR_LEVELS, average=0.5)
    with pytest.raises(RecipeError, match=r"optimizer.learning_rate \(0.001 then, 0.002 now\)"):
        train(replace(told, optimizer=replace(told.optimizer, learning_rate=2e-3)))
    state = checkpoints.load(told.folder, 4).state
    with pytest.raises(RecipeError, match=r"processes \(1 then, 2 now\)"):
        checkpoints.check_same(state, {**state.recipe, "processes": 2}, state.clips)
    with pytest.raises(RecipeError, match="clips have changed"):
        checkpoints.check_same(state, state.recipe, "another digest")
    assert train(replace(told, device="cpu")), "a finished run is left as it is"


def test_a_damaged_checkpoint_is_named(ground, first, tmp_path):
    place = checkpoints.place(tmp_path, 7)
    place.mkdir(parents=True)
    (place / checkpoints.STATE).write_text("{}")
    with pytest.raises(CheckpointsError, match="00000007"):
        checkpoints.load(tmp_path, 7)


def test_old_checkpoints_go_and_half_ones_do_not_count(ground, tmp_path):
    told = pictures(ground, "kept", output=str(tmp_path), steps=3, save={"every": 1, "keep": 2})
    half = tmp_path / "kept" / "checkpoints" / ".00000009.part"
    half.mkdir(parents=True)
    assert train(told)
    assert checkpoints.steps(told.folder) == [2, 3]
    assert train(replace(told, steps=1), fresh=True)
    assert checkpoints.steps(told.folder) == [1]
    assert [line["step"] for line in read(told.folder / "metrics.jsonl")] == [1]


def test_a_write_that_fails_leaves_the_checkpoint_before(ground, first, tmp_path, monkeypatch):
    told = pictures(ground, "full", output=str(tmp_path), steps=1)
    assert train(told)
    monkeypatch.setattr(checkpoints.torch, "save", lambda *_: (_ for _ in ()).throw(OSError("No space left on device")))
    with pytest.raises(OSError, match="No space"):
        train(replace(told, steps=2))
    assert checkpoints.steps(told.folder) == [1]
    assert checkpoints.load(told.folder, 1).state.step == 1


def test_a_full_disk_is_seen_before_the_first_step(ground, monkeypatch):
    monkeypatch.setattr("joyhallo.files.space.free", lambda folder: 1 << 20)
    with pytest.raises(RoomError, match=r"save\.keep"):
        train(pictures(ground, "no room"))
    assert not (ground / "runs" / "no room").exists()


def test_a_loss_that_is_no_number_stops_the_run(ground):
    with pytest.raises(TrainingError, match=r"learning_rate"):
        train(pictures(ground, "nan", optimizer={"learning_rate": 1e30, "clip": 0.0}, steps=20))


# ---- several processes


def test_two_processes_are_one_with_twice_the_batch(ground, tmp_path):
    """Gradients, by way of what they do to the weights: with an epsilon this large AdamW moves along them."""
    plain = {"learning_rate": 1.0, "epsilon": 100.0, "clip": 0.0, "weight_decay": 0.0}
    told = {"optimizer": plain, "steps": 2, "output": str(tmp_path), "save": {"precision": "fp32"}, "accumulate": 2}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = tmp_path / "two.toml"
    settings = table(ground, "two", **{**told, "data": {"batch": 1}})
    path.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in flat(settings).items()))
    common = {
        **os.environ,
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    common |= {"ACCELERATE_USE_CPU": "1", "LOCAL_WORLD_SIZE": "2"}
    command = [sys.executable, "-m", "joyhallo.training", str(path)]
    both = [
        subprocess.Popen(
            command, cwd=REPOSITORY, env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    alone = recipe(ground, "one", **told)
    assert train(alone)
    said = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    begun = trainer.prepare(alone).weights()
    one, two = (load_file(tmp_path / name / checkpoints.MODEL) for name in ("one", "two"))
    moved = {key: one[key] - begun[key] for key in one}
    assert any(change.abs().max() > 1e-3 for change in moved.values())
    for key, change in moved.items():
        scale = max(change.abs().max().item(), 1e-6)
        torch.testing.assert_close(
            two[key] - begun[key], change, rtol=0, atol=2e-3 * scale, msg=lambda m, k=key: f"{k}: {m}"
        )
    for a, b in zip(compared(tmp_path / "one"), compared(tmp_path / "two"), strict=True):
        assert a == pytest.approx(b, rel=1e-4)


def test_processes_share_the_samples_of_a_step():
    shares = [list(Numbers(3, 5, batch=2, accumulate=2, rank=rank, processes=3)) for rank in range(3)]
    together = [sorted(itertools.chain(*step)) for step in zip(*shares, strict=True)]
    assert list(itertools.chain(*together)) == list(range(3 * 2 * 6, 5 * 2 * 6))
    assert list(Numbers(4, 5, 2, 2, 1, 3)) == shares[1][2:]


# ---- samples


def test_a_sample_is_a_function_of_its_number(ground):
    told = recipe(ground, "samples")
    there = open_dataset(ground / "data").clips
    drawn, again = (Samples(there, told, NET, torch.zeros(2, 4, 8, 8)) for _ in range(2))
    one, other = drawn[5], drawn[6]
    twice = again[5]
    assert torch.equal(one.noise, twice.noise)
    assert torch.equal(one.latents, twice.latents)
    assert not torch.equal(one.noise, other.noise)
    turns = [[drawn.order(turn * 3 + place) for place in range(3)] for turn in range(6)]
    assert all(sorted(turn) == [0, 1, 2] for turn in turns)
    assert len({tuple(turn) for turn in turns}) > 1


def test_what_a_sample_holds(ground):
    """Latents and windows are those of the frames that were chosen, as the dataset has them."""
    told = recipe(ground, "samples", drop={"start": 0.0, "reference": 0.0, "audio": 0.0}, loss={"noise_offset": 0.0})
    there = open_dataset(ground / "data").clips
    drawn = Samples(there, told, NET, torch.zeros(2, 4, 8, 8))
    for number in range(6):
        sample, clip = drawn[number], there[drawn.order(number)]
        mean, logvar = clip.latents(range(clip.length))
        first = next(i for i in range(clip.length) if torch.equal(mean[i], sample.latents[3, 0]))
        assert torch.equal(sample.latents[1:, 0], mean[first - 2 : first + 4])
        assert torch.equal(sample.latents[1:, 1], logvar[first - 2 : first + 4])
        for frame in range(4):
            around = torch.arange(first + frame - 2, first + frame + 3)
            assert torch.equal(sample.windows[frame], clip.speech[around])
        assert 2 <= first <= clip.length - 4 - 2 - 1


def test_frames_that_never_came(ground):
    """Grey, or the portrait: the same in pixels and in latents."""
    there = open_dataset(ground / "data").clips
    grey = torch.full((2, 4, 8, 8), 7.0)
    told = recipe(ground, "samples", drop={"start": 1.0})
    latents = Samples(there, told, NET, grey)[0].latents
    assert (latents[1:3] == 7).all()
    assert not (latents[3:] == 7).any()
    pixels = Samples(there, told, NET)[0].pictures
    assert pixels[1:3].abs().max() == 0
    assert pixels[3:].abs().max() > 0
    told = replace(told, start_frames="portrait")
    latents = Samples(there, told, NET, grey)[0].latents
    assert torch.equal(latents[1], latents[0])
    assert torch.equal(latents[2], latents[0])


def test_noise_has_an_offset_of_its_own_for_each_channel(ground):
    """The same for all frames and pixels, with the share that the recipe says."""
    there = open_dataset(ground / "data").clips
    without, with_it = (
        Samples(there, recipe(ground, "samples", loss={"noise_offset": share}), NET, torch.zeros(2, 4, 8, 8))[1].noise
        for share in (0.0, 0.5)
    )
    offset = with_it - without
    torch.testing.assert_close(offset, offset[:1, :, :1, :1].expand_as(offset), rtol=0, atol=1e-6)
    assert offset.abs().max() > 0.01


def test_shares_of_what_is_dropped():
    """Each sample by itself: how often each combination comes, against the product of the shares."""
    drop = build({"drop": {"reference": 0.3, "audio": 0.4, "everything": 0.2}}).drop
    found = Counter()
    for number in range(4000):
        draws = torch.rand(5, generator=seeded(1, "test", number)).tolist()
        found[tuple(bool(x) for x in conditions(drop, draws))] += 1
    expected = {
        (True, True, True, True, True): 0.7 * 0.6 * 0.8,
        (True, True, True, True, False): 0.7 * 0.4 * 0.8,
        (False, False, True, True, True): 0.3 * 0.6 * 0.8,
        (False, False, True, True, False): 0.3 * 0.4 * 0.8,
        (False, True, False, False, False): 0.7 * 0.2,
        (False, False, False, False, False): 0.3 * 0.2,
    }
    assert found.keys() == expected.keys()
    for pattern, share in expected.items():
        assert found[pattern] / 4000 == pytest.approx(share, abs=0.025)


def test_a_share_of_the_samples_is_nobodys(ground):
    told = recipe(ground, "samples", drop={"identity": 0.4})
    drawn = Samples(open_dataset(ground / "data").clips, told, NET, torch.zeros(2, 4, 8, 8))
    nobody = sum(not drawn[number].identity.any() for number in range(200))
    assert 0.3 < nobody / 200 < 0.5


def test_choices_stay_within_a_clip():
    """As the original's ranges; every frame that may be chosen is."""
    told = build({"stage": "clips", "data": {"frames": 4, "motion_frames": 2}})
    length = shortest(told, NET) + 3
    seen = [choose(told, 2, length, seeded(0, "test", number)) for number in range(300)]
    assert {choice.first for choice in seen} == set(range(2, length - 4 - 2))
    assert {choice.reference for choice in seen} == {choice.first for choice in seen}
    single = [choose(told, 2, shortest(told, NET), seeded(0, "test", number)) for number in range(5)]
    assert {choice.first for choice in single} == {2}

    told = build({"stage": "pictures", "train": ["appearance"]})
    for length in (1, 20, 31, 45, 90):
        for number in range(200):
            choice = choose(told, 2, length, seeded(0, "test", number))
            assert 0 <= choice.reference < length
            assert 0 <= choice.first < length
            if choice.reference + 30 < length or choice.reference - 30 > 0:
                assert abs(choice.first - choice.reference) >= 30


def test_those_that_read_come_first(ground):
    told = recipe(ground, "samples", drop={"reference": 0.5})
    drawn = Samples(open_dataset(ground / "data").clips, told, NET, torch.zeros(2, 4, 8, 8))
    taken = [drawn[number] for number in range(8)]
    reads = collate(taken).given.reads.tolist()
    assert reads == sorted(reads, reverse=True)
    assert 0 < sum(reads) < 8


def test_clips_that_do_not_fit_are_told(ground):
    there = open_dataset(ground / "data").clips
    told = recipe(ground, "samples", data={"frames": 26, "motion_frames": 2})
    good, problems = fitting(there, told, NET)
    assert [clip.length for clip in good] == [40, 33]
    assert "30 frames" in problems[0].reason
    assert "31" in problems[0].reason
    for wrong, said in (
        ({"audio_layers": 4}, "speech"),
        ({"face_dim": 128}, "identity"),
        ({"latent_channels": 16}, "latents"),
    ):
        _, problems = fitting(there, recipe(ground, "samples"), replace(NET, **wrong))
        assert all(said in problem.reason for problem in problems)
        assert len(problems) == 3


# ---- what it begins with


def test_hallo_s_weights_become_joyhallo_s(ground, tmp_path):
    """Its two further hearings are left behind; a recipe with other sizes is refused."""
    hallo = small.net(channels=(32, 64), regional_audio=True)
    torch.save(hallo.state_dict(), tmp_path / "net.pth")
    settings = {"start": {"weights": str(tmp_path / "net.pth")}, "net": {}}
    with pytest.raises(WeightsError, match=r"do not divide|does not say"):
        train(build({**table(ground, "hallo"), **settings}))
    from joyhallo.methods.hallo.checkpoint import HEADER_ENTRY, header_entry
    from joyhallo.methods.hallo.config import ModelConfig

    save(hallo.state_dict(), tmp_path / "hallo.safetensors", {HEADER_ENTRY: header_entry(ModelConfig(hallo.config))})
    told = build({"start": {"weights": str(tmp_path / "hallo.safetensors")}})
    net, config = begin(told, replace(ModelConfig().codec))
    assert not config.net.regional_audio
    theirs = hallo.state_dict()
    for key, tensor in net.state_dict().items():
        assert torch.equal(tensor, theirs[key]), key
    with pytest.raises(RecipeError, match="layers"):
        begin(replace(told, net={"layers": 2}), replace(ModelConfig().codec))
    anew, _ = begin(replace(told, start=replace(told.start, fresh=("audio",))), replace(ModelConfig().codec))
    changed = {key for key, tensor in anew.state_dict().items() if not torch.equal(tensor, theirs[key])}
    assert changed
    assert all("audio" in key for key in changed)


def test_missing_files_are_named_together_with_where_they_are_published_and_the_option(ground, tmp_path, caplog):
    """Before anything is loaded; a folder without the VAE's weights is as good as none."""
    (tmp_path / "vae").mkdir()
    told = ["--set", f"data.folder={ground / 'data'}", "--set", f"codec.path={tmp_path / 'vae'}", "--set", "device=cpu"]
    weights = ["--set", f"start.weights={tmp_path / 'net.pth'}"]
    for stage, remedy in (("stage1", "Put it there"), ("stage2", "Run stage1 first")):
        caplog.clear()
        assert main([stage, *told, *weights]) == 1
        for said in (tmp_path / "net.pth", "--set start.weights=", "jdh-algo/JoyHallo-v1", remedy):
            assert str(said) in caplog.text
        for said in (tmp_path / "vae", "--set codec.path=", "fudan-generative-ai/hallo", "sd-vae-ft-mse"):
            assert str(said) in caplog.text


# ---- the recipe


def test_recipes_that_come_along():
    found = {path.stem: read_recipe(path) for path in RECIPES.glob("*.toml")}
    assert sorted(found) == ["stage1", "stage2", "tiny1", "tiny2"]
    assert found["stage1"].drop.appearance == 0.1
    assert found["stage2"].frames == 16
    assert found["stage1"].schedule.beta_schedule == "scaled_linear"
    assert found["stage1"].sampling.beta_schedule == "linear"
    assert found["tiny1"].net == {**found["tiny1"].net}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("optimiser.learning_rate=1", "did you mean optimizer"),
        ("data.batches=1", "data.batch"),
        ('data.batch="two"', "expected int"),
        ("stage=movies", "pictures, clips"),
        ("drop.audio=2", "from 0 to 1"),
        ("save.every=0", "at least 1"),
        ('train=["voice"]', "appearance, audio, motion"),
        ("steps", "NAME=VALUE"),
    ],
)
def test_recipes_that_cannot_be_followed(change, said):
    with pytest.raises(RecipeError) as raised:
        read_recipe(RECIPES / "stage2.toml", [change])
    assert said in str(raised.value)


def test_the_command_says_what_is_wrong(tmp_path, caplog):
    assert main([str(tmp_path / "none.toml")]) == 1
    (tmp_path / "bad.toml").write_text("steps = = 3")
    assert main([str(tmp_path / "bad.toml")]) == 1
    assert main(["tiny1", "--set", f"data.folder={tmp_path}", "--set", "device=cpu"]) == 1
    assert "is not a dataset" in caplog.text
    assert "none.toml" in caplog.text
    assert "not valid TOML" in caplog.text


def test_a_dry_run_writes_nothing(ground, caplog):
    path = ground / "dry.toml"
    told = table(ground, "dry")
    path.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in flat(told).items()))
    with caplog.at_level("INFO"):
        assert main([str(path), "--dry-run"]) == 0
    assert "step 2: loss" in caplog.text
    assert "peak memory" in caplog.text
    assert not (ground / "runs" / "dry").exists()


def test_learning_rates_are_those_of_torch():
    settings = build({"optimizer": {"learning_rate": 0.3, "final_rate": 0.1, "decay": "cosine"}}).optimizer
    parameter = torch.nn.Parameter(torch.zeros(1))
    theirs = torch.optim.SGD([parameter], lr=0.3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(theirs, T_max=10, eta_min=0.1)
    for step in range(10):
        assert rate(settings, step, 10) == pytest.approx(theirs.param_groups[0]["lr"])
        theirs.step()
        schedule.step()
    settings = replace(settings, decay="constant", warmup=4)
    assert [rate(settings, step, 10) for step in range(6)] == pytest.approx([0.075, 0.15, 0.225, 0.3, 0.3, 0.3])


def test_average_is_that_of_torch():
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    layer = torch.nn.Linear(3, 2)
    ours = Average(dict(layer.named_parameters()), decay=0.6)
    theirs = AveragedModel(layer, multi_avg_fn=get_ema_multi_avg_fn(0.6))
    theirs.update_parameters(layer)
    for _ in range(5):
        with torch.no_grad():
            layer.weight += torch.randn(2, 3)
        ours.update(step=1000)  # long after the beginning, in which it follows faster
        theirs.update_parameters(layer)
    torch.testing.assert_close(ours.weights["weight"], theirs.module.weight.detach())
