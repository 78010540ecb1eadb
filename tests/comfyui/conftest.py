import shutil

import pytest
import torch
from inside import load_pack

from demo.bundle import FOLDER
from demo.comfyui import Client, Server, get_comfyui, install_pack


@pytest.fixture(scope="session", autouse=True)
def one_thread_from_the_start():
    """Also for what larger fixtures compute: other threads, other roundings."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def comfyui():
    """ComfyUI's tree; where it cannot be had, these tests fail."""
    return get_comfyui()


@pytest.fixture(scope="session")
def pack(comfyui):
    return load_pack(comfyui)


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """A folder for ComfyUI with the pack in it, and portrait, masks and speech to load."""
    base = tmp_path_factory.mktemp("comfyui")
    install_pack(base)
    (base / "input").mkdir()
    for asset in (*FOLDER.glob("*.png"), *FOLDER.glob("*.wav")):
        shutil.copy(asset, base / "input")
    return base


@pytest.fixture(scope="session")
def server(base):
    with Server(base) as running:
        yield running


@pytest.fixture(scope="session")
def client(server):
    return Client(server.url)
