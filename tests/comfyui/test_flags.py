"""The demo under the flags that people start ComfyUI with. Flags that do not touch each other share a server."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch
from certificates import certificate
from crippled import FLAGS
from film import Film
from labels import record, settle
from loaded import Loaded
from PIL import Image

from joyhallo.config import SAMPLE_RATE
from joyhallo.sound.audio import load
from tools.comfyui.server import PACK, Client, Run, Server
from tools.comfyui.workflow import Graph
from tools.demo import prepare
from tools.demo_model.bundle import FOLDER

WORKFLOW = {"nodes": [], "links": [], "version": 0.4, "extra": {"name": "嘴型"}}
SOUND = "two_chunks.wav"
SECONDS, FRAMES, CHUNKS, STEPS = 1.1, 28, 2, 2


def film(seed: int) -> Film:
    return Film(sound=SOUND, sampler={"seed": seed})


SAMPLER, SAVING = film(1).sampler.node, film(1).saved.node

EIGHT_BITS = ("--fp8_e4m3fn-unet", "--disable-smart-memory", "--preview-method", "latent2rgb", "--multi-user")
HALF = FLAGS
PLAIN = ()


def nothing() -> Graph:
    graph = Graph()
    graph.add("PreviewImage", images=graph.add("EmptyImage", width=8, height=8, batch_size=1, color=0)[0])
    return graph


@dataclass(frozen=True)
class Session:
    base: Path
    log: str
    first: Run
    again: Run  # the same once more
    other: Run  # with another seed

    def file(self, run: Run) -> Path:
        (saved,) = run.files(SAVING)
        return self.base / saved["type"] / saved["subfolder"] / saved["filename"]

    def frames(self, run: Run) -> np.ndarray:
        with av.open(self.file(run)) as video:
            return np.stack([frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)])


def session(server: Server) -> Session:
    spoken = load(FOLDER / "speech.wav").samples[: round(SECONDS * SAMPLE_RATE)].numpy()
    soundfile.write(server.base / "input" / SOUND, spoken, SAMPLE_RATE)  # which nothing needs to resample
    client = Client(server.url)
    client.free()
    client.run(nothing())  # what is to be freed is freed for certain once a prompt has come and gone
    started = len(server.text())
    runs = [client.run(film(seed), workflow=WORKFLOW) for seed in (1, 1, 2)]
    return Session(server.base, server.text()[started:], *runs)


@pytest.fixture(scope="module")
def sessions(request, comfyui, tmp_path_factory):
    """By flags, each in a server that holds nothing of what it may have run before."""
    made: dict[tuple[str, ...], Session] = {}

    def started_with(flags: tuple[str, ...]) -> Session:
        base = tmp_path_factory.mktemp("base")
        prepare(base)
        if "--multi-user" in flags:
            chain, key = certificate(base)
            for user in ("default", "one"):
                settle(base / "user", user, Write=False, Producer="One", Certificate=str(chain), Key=str(key))
        with Server(base, ("--cpu", *flags), tree=comfyui) as server:
            return session(server)

    def get(flags: tuple[str, ...]) -> Session:
        if flags not in made:
            running = {PLAIN: "server", HALF: "crippled"}.get(flags)
            made[flags] = session(request.getfixturevalue(running)) if running else started_with(flags)
        return made[flags]

    return get


@pytest.mark.parametrize("flags", [PLAIN, EIGHT_BITS, HALF], ids=lambda flags: " ".join(flags) or "--cpu")
def test_a_video_comes_out(sessions, flags):
    found = sessions(flags)
    for run in (found.first, found.again, found.other):
        assert run.status == "success", run.message
    assert found.frames(found.first).shape == (FRAMES, 64, 64, 3)
    assert (found.frames(found.first) != found.frames(found.other)).any()
    assert PACK not in found.log  # as it would be in a traceback; ComfyUI logs some of its own
    assert "memory leak" not in found.log


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (PLAIN, "loaded in float32."),
        (EIGHT_BITS, "loaded in float8_e4m3fn, computed in float32."),
        (HALF, "loaded in float16, computed in float32."),
    ],
)
def test_auto_means_the_precision_that_comfyui_was_started_with(sessions, flags, said):
    lines = [line for line in sessions(flags).log.splitlines() if "JoyHallo checkpoint" in line]
    assert lines
    assert all(line.endswith(said) for line in lines)


@pytest.mark.parametrize("flags", [PLAIN, EIGHT_BITS])
def test_each_step_shows_a_face_that_moves(sessions, flags):
    run, steps = sessions(flags).first, STEPS * CHUNKS
    assert [(done, total) for at, done, total in run.progress if at == SAMPLER] == [
        (done, steps) for done in range(1, steps + 1)
    ]
    shown = [np.asarray(Image.open(io.BytesIO(picture))).astype(int) for at, picture in run.previews if at == SAMPLER]
    assert len(shown) == steps
    changes = [np.abs(after - before).mean() for before, after in pairwise(shown)]
    if not flags:  # no previews of what is unfinished: the picture, then the frames of the last chunk
        assert max(changes[: STEPS - 1]) == 0
        changes = changes[STEPS - 1 :]
    assert min(changes) > 1


def test_the_workflow_is_in_the_file_unless_metadata_are_switched_off(sessions):
    plain, without = sessions(PLAIN), sessions(HALF)
    with av.open(plain.file(plain.first)) as video:
        assert json.loads(video.metadata["workflow"]) == WORKFLOW
        saved = json.loads(video.metadata["prompt"])
    assert {number: entry["inputs"] for number, entry in saved.items()} == {
        number: entry["inputs"] for number, entry in film(1).items()
    }
    with av.open(without.file(without.first)) as video:
        assert not {"workflow", "prompt"} & {key.lower() for key in video.metadata}


def test_results_are_kept_as_comfyui_was_told(sessions):
    assert sessions(PLAIN).again.executed == []
    assert set(sessions(PLAIN).other.executed) == {SAMPLER, SAVING}
    assert set(sessions(HALF).again.executed) == set(film(1))  # --cache-none
    assert sessions(HALF).log.count("JoyHallo checkpoint") == 3


def test_without_smart_memory_networks_are_loaded_for_each_run(sessions):
    plain, eager = sessions(PLAIN).log, sessions(EIGHT_BITS).log
    assert eager.count("JoyHallo checkpoint") == 1
    for network in ("ReferenceUNet", "DenoisingUNet", "FaceLocator", "ImageProj", "AudioProj"):
        asked = f"Requested to load {network}"
        assert (plain.count(asked) <= 1, eager.count(asked)) == (True, 2), network  # one of the three was kept


def test_among_several_users_nobody_s_settings_hold_for_the_others(sessions):
    """One of them has signed and has the switch off; whose workflow this is, ComfyUI does not tell."""
    shared = sessions(EIGHT_BITS)
    film = shared.file(shared.first)
    assert record(film)["ContentProducer"] == "ComfyUI-JoyHallo"
    assert b"c2pa" not in film.read_bytes()


# ---- within this process: what would need a card, or one server more


@pytest.mark.parametrize(
    ("flag", "said", "rounded"),
    [
        ("fp8_e5m2_unet", "float8_e5m2, computed in float32", torch.float8_e5m2),
        ("fp64_unet", "float64", torch.float64),
    ],
)
def test_the_rarer_precisions(pack, monkeypatch, flag, said, rounded):
    from comfy.cli_args import args

    exact = Loaded(pack)
    with torch.inference_mode():
        for parameter in exact.model.net.parameters():
            if parameter.ndim >= 2:
                parameter.copy_(parameter.to(rounded))
    monkeypatch.setattr(args, flag, True)
    loaded = Loaded(pack)
    assert str(loaded.model.precision) == said
    torch.testing.assert_close(loaded.frames().float(), exact.frames(), rtol=0, atol=1e-4)


def test_bfloat16_is_taken_as_told(pack, monkeypatch):
    from comfy.cli_args import args

    monkeypatch.setattr(args, "bf16_unet", True)
    loaded = Loaded(pack)
    assert str(loaded.model.precision) == "bfloat16, computed in float32"
    assert loaded.frames().isfinite().all()


def test_networks_moved_out_and_in_between_two_steps(pack, monkeypatch):
    """As with --lowvram and --novram, or when something else wants the memory: the frames stay the same."""
    loaded = Loaded(pack)
    expected, loader, moved = loaded.frames(), type(loaded.model).loader, []

    def moving_loader(self, *settings):
        ready = loader(self, *settings)

        def then_moved(network):
            ready(network)
            name, patcher = next(item for item in self.patchers.items() if item[1].model is network)
            patcher.partially_unload(patcher.offload_device, patcher.model_size() / 2)
            moved.append((name, "out"))
            if len(moved) % 2:
                patcher.partially_load(patcher.load_device, patcher.model_size())
                moved.append((name, "in"))
            return network

        return then_moved

    monkeypatch.setattr(type(loaded.model), "loader", moving_loader)
    torch.testing.assert_close(loaded.frames(), expected, rtol=0, atol=1e-6)
    assert {name for name, _ in moved} == set(loaded.model.patchers)
    assert {way for _, way in moved} == {"out", "in"}
