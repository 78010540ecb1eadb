"""What a long-lived ComfyUI is left with: no memory, no loaded network, no file where none belongs."""

from __future__ import annotations

import gc
import os
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from film import Film
from loaded import Loaded

from tools.comfyui.server import ROOT, Client, Server
from tools.demo import prepare, speech_of
from tools.demo_model.seeded import write_autoencoder, write_encoder, write_net

MB = 2**20
WARM_UP, RUNS, SWAPS = 3, 5, 4
WINDOW = 4  # runs of which the least memory counts: buffers of encoders and the picture of the drift come and go
LOOKS, PAUSE = 4, 0.1  # at the memory after a run, and seconds before each
# What may remain of all runs, and of all swaps: a video that stays each time would make 7 MB, a network 12.
RUNS_ALLOWANCE, SWAPS_ALLOWANCE = 4 * MB, 8 * MB
# Else each thread's riddled heap of its own grows for a while, and what is large stays in it when it is given back.
ONE_HEAP = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "1000000"}

SMALL = {"audio_encoder": "small-wav2vec2", "vae": "small-vae.safetensors"}
LEAK = "memory leak"  # ComfyUI's words for a network that outlives what owned it
OPEN_TO_COMFYUI = ("output", "temp", "user", "comfyui.log")


@pytest.fixture(scope="module")
def own_base(tmp_path_factory) -> Path:
    base = tmp_path_factory.mktemp("base")
    prepare(base)
    speech_of(0.5, base / "input" / "speech.wav", base / "input" / "short.wav")
    models = base / "models" / "joyhallo"
    models.mkdir(parents=True)
    for name in ("a", "b"):
        write_net(models / f"{name}.safetensors")
    write_encoder(models / SMALL["audio_encoder"])
    write_autoencoder(models / SMALL["vae"])
    for folder in ("home", "scratch", "custom_nodes"):
        (base / folder).mkdir(exist_ok=True)
    return base


@pytest.fixture(scope="module")
def before(own_base) -> set[str]:
    (own_base / "input" / "3d").mkdir()  # newer versions of ComfyUI do so when they start
    return everything(own_base)


@pytest.fixture(scope="module")
def own_server(comfyui, own_base, before) -> Iterator[Server]:
    places = {"HOME": str(own_base / "home"), "TMPDIR": str(own_base / "scratch")}
    with Server(own_base, tree=comfyui, environment={**places, **ONE_HEAP}) as server:
        yield server


def everything(base: Path) -> set[str]:
    """Files with size and date, and folders, of a base folder and the pack; but not where ComfyUI or Python write."""
    places = [base / name for name in os.listdir(base) if name not in OPEN_TO_COMFYUI]
    found = set()
    for place in (*places, *(ROOT / name for name in ("__init__.py", "nodes", "joyhallo", "demo_model"))):
        for path in (place, *place.rglob("*")):
            if not any(part.startswith(("__pycache__", "torchinductor")) for part in path.parts):
                stat = path.lstat()
                found.add(f"{path} {(stat.st_size, stat.st_mtime_ns) if path.is_file() else ''}")
    return found


def growth(server: Server, graphs: list[Film], counted: int) -> int:
    """Bytes that the last `counted` of these runs have added to the server's memory."""
    client, process, resident = Client(server.url), psutil.Process(server.process.pid), []
    for graph in graphs:
        run = client.run(graph)
        assert run.status == "success", run.message
        resident.append(min(_resident(process) for _ in range(LOOKS)))
    return min(resident[-WINDOW:]) - min(resident[-counted - WINDOW : -counted])


def _resident(process: psutil.Process) -> int:
    time.sleep(PAUSE)  # what a thread was about to give back when the run ended is no leak
    return process.memory_info().rss


def test_repeated_runs_need_no_more_memory(own_server):
    runs = [Film(sampler={"seed": seed}) for seed in range(WARM_UP + WINDOW + RUNS)]
    assert growth(own_server, runs, RUNS) < RUNS_ALLOWANCE
    assert LEAK not in own_server.text()


def test_checkpoints_that_take_turns_leave_none_of_them_behind(own_server):
    turns = [{**SMALL, "checkpoint": f"{'ab'[turn % 2]}.safetensors"} for turn in range(WARM_UP + WINDOW + SWAPS)]
    assert growth(own_server, [Film(models=models) for models in turns], SWAPS) < SWAPS_ALLOWANCE
    assert LEAK not in own_server.text()


def test_no_file_appears_where_none_belongs(own_base, before, own_server):
    client = Client(own_server.url)
    assert client.run(Film(sampler={"seed": 98})).status == "success"
    client.free()
    assert client.run(Film(sampler={"seed": 99})).status == "success"  # loads everything again
    assert everything(own_base) == before
    assert any("a.safetensors" in entry for entry in before)
    assert any("__init__.py" in entry for entry in before)


# ---- within this process


@contextmanager
def no_collection() -> Iterator[None]:
    """Only what is dropped in good order is freed."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def watch(loaded: Loaded) -> list[weakref.ref]:
    return [weakref.ref(thing) for patcher in loaded.patchers() for thing in (patcher, patcher.model)]


def alive(references: list[weakref.ref]) -> list[str]:
    return [type(thing).__name__ for reference in references if (thing := reference()) is not None]


@pytest.fixture
def manager(pack):
    import comfy.model_management

    Loaded(pack).frames()  # what is imported or kept now is not looked at
    comfy.model_management.unload_all_models()
    yield comfy.model_management
    comfy.model_management.interrupt_current_processing(False)


# A cycle of references would keep a network until Python looks for such, which it does without hurry.


def test_networks_go_at_once_when_they_are_dropped(pack, manager):
    with no_collection():
        loaded = Loaded(pack)
        loaded.frames()
        watched = watch(loaded)
        assert len(manager.current_loaded_models) == len(alive(watched)) / 2 == 7
        del loaded
        assert alive(watched) == []
        assert manager.current_loaded_models == []


def test_networks_go_at_once_when_a_long_recording_is_dropped(pack, manager, monkeypatch):
    """Such a recording is encoded in parts, later, so the encoder is known to it."""
    monkeypatch.setattr(pack.joyhallo.sound.wav2vec2, "WHOLE", 12)
    monkeypatch.setattr(pack.joyhallo.sound.wav2vec2, "CONTEXT", 2)
    with no_collection():
        loaded = Loaded(pack)
        loaded.frames()
        watched = watch(loaded)
        del loaded
        assert alive(watched) == []


def test_networks_go_at_once_after_a_cancelled_run(pack, manager):
    with no_collection():
        loaded = Loaded(pack)
        manager.interrupt_current_processing()
        with pytest.raises(manager.InterruptProcessingException):
            loaded.frames()
        watched = watch(loaded)
        del loaded
        assert alive(watched) == []


def test_freeing_unloads_all(pack, manager):
    """As the button does, while the results are still kept."""
    loaded = Loaded(pack)
    loaded.frames()
    patchers = loaded.patchers()
    assert {id(found.model) for found in manager.current_loaded_models} == {id(patcher) for patcher in patchers}
    assert all(patcher.loaded_size() > 0 for patcher in patchers)
    manager.unload_all_models()
    assert manager.current_loaded_models == []
    assert [patcher.loaded_size() for patcher in patchers] == [0] * len(patchers)
