"""One ComfyUI for all tests of the session, with the pack, the demo's files and some small models in its folders."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from crippled import crippled_server
from inside import load_pack

from tools.comfyui.server import Client, Server, get_comfyui
from tools.demo import prepare, speech_of
from tools.demo_model.seeded import NET, write_autoencoder, write_encoder, write_net
from tools.fuzz.__main__ import install_node

WITHOUT = "JOYHALLO_WITHOUT_COMFYUI"


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of two runs, one needs ComfyUI in its own process alone, and the other needs the server alone."""
    for item in items:
        if "pack" in getattr(item, "fixturenames", ()):
            item.add_marker("inside")


@pytest.fixture(scope="session")
def comfyui() -> Path:
    """ComfyUI's tree. Where it cannot be had the tests fail, unless that was said beforehand."""
    if os.environ.get(WITHOUT):
        pytest.skip(f"{WITHOUT} is set, so nothing is tried in ComfyUI")
    return get_comfyui()


@pytest.fixture(scope="session")
def pack(comfyui, tmp_path_factory):
    pack = load_pack(comfyui)
    gc.freeze()  # all of ComfyUI stays, too: see tests/conftest.py
    import folder_paths

    for name in ("temp", "user"):
        getattr(folder_paths, f"set_{name}_directory")(str(tmp_path_factory.mktemp(name)))
    return pack


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    """ComfyUI's folders. `small` and `small-hallo` are names of models, `short.wav` is a recording of 0.6 s."""
    base = tmp_path_factory.mktemp("comfyui")
    prepare(base)
    install_node(base)  # for the fuzz
    ours, vaes = base / "models" / "joyhallo", base / "models" / "vae"
    for folder in (ours, vaes):
        folder.mkdir(parents=True)
    write_net(ours / "small.safetensors")
    write_net(ours / "small-hallo.safetensors", replace(NET, regional_audio=True))
    write_encoder(ours / "small-wav2vec2")
    write_autoencoder(vaes / "small-vae.safetensors")
    speech_of(0.6, base / "input" / "speech.wav", base / "input" / "short.wav")
    return base


@pytest.fixture(scope="session")
def server(comfyui, base) -> Iterator[Server]:
    with Server(base, tree=comfyui) as server:
        yield server


@pytest.fixture(scope="session")
def crippled(comfyui, tmp_path_factory) -> Iterator[Server]:
    with crippled_server(comfyui, *map(tmp_path_factory.mktemp, ("base", "libraries"))) as server:
        yield server


@pytest.fixture
def client(server) -> Client:
    return Client(server.url)
