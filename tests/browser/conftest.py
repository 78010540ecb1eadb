"""ComfyUI's page as people see it: two versions of it, classic and Nodes 2.0, in English and in Chinese."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from canvases import install_finder
from drawn_faces import drawn_mesh
from hub import Hub, serving
from looks import SCREENS, View, size_of
from stock import stock

from joyhallo.methods.hallo.published import PUBLISHED
from joyhallo.methods.wav2lip.published import PUBLISHED as OF_WAV2LIP
from tools.comfyui.browser import Browser, NoBrowser, Page, find_browser, newest_frontend, settings
from tools.comfyui.server import Server, get_comfyui, install_pack
from tools.demo import speech_of
from tools.demo_model.bundle import FOLDER

WITHOUT = "JOYHALLO_WITHOUT_COMFYUI"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    pytest.importorskip("playwright", reason="playwright drives the browser")
    try:
        find_browser()
    except NoBrowser as missing:
        pytest.skip(str(missing))
    with Browser() as browser:
        yield browser


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    """ComfyUI's folders, in `input` nothing but a recording of four chunks, `short.wav`."""
    if os.environ.get(WITHOUT):
        pytest.skip(f"{WITHOUT} is set, so nothing is tried in ComfyUI")
    get_comfyui()
    base = tmp_path_factory.mktemp("comfyui")
    install_pack(base)
    (base / "input").mkdir()
    speech_of(1.6, FOLDER / "speech.wav", base / "input" / "short.wav")
    install_finder(base, drawn_mesh(256, 288, 230), drawn_mesh(768, 288, 230))
    return base


@pytest.fixture(scope="session")
def hub() -> Iterator[Hub]:
    """Has every published file, which holds its name and nothing else."""
    of_all = [files for published in (PUBLISHED, OF_WAV2LIP) for files in published.values()]
    names = [f"{file.repository}/{file.path}" for files in of_all for file in files]
    with serving(Hub({name: name.encode() for name in names})) as hub:
        yield hub


@pytest.fixture(scope="session")
def start(base, hub) -> Iterator[Callable[[bool], Server]]:
    """One server for each version of the page, once it is needed."""
    reached = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(base / "hub")}
    with ExitStack() as stack:
        servers: dict[bool, Server] = {}

        def start(newest: bool) -> Server:
            if newest not in servers:
                page = ("--front-end-root", str(newest_frontend())) if newest else ()
                servers[newest] = stack.enter_context(Server(base, ("--cpu", *page), environment=reached))
            return servers[newest]

        yield start


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """View after view, so that the page is opened once for each; by newcomers, who have not opened anything before.

    Last come those who fetch models, and who have them: the others have none.
    """

    def place(item: pytest.Item) -> tuple[bool, str, bool]:
        given = getattr(item, "callspec", None)
        view = str(given.params.get("view", "")) if given else ""
        return not view, view, item.path.stem != "test_newcomer"

    items.sort(key=place)


@pytest.fixture(scope="session")
def view(request) -> View:
    return request.param


@pytest.fixture(scope="session")
def page(view, browser, base, start) -> Iterator[Page]:
    """Shared by all tests of a view: each drops a workflow of its own, which opens in a tab of its own."""
    server = start(view.newest)
    settings(base, view.language, view.nodes2)
    with browser.open(server.url) as page:
        yield page


# ---- whoever has no model at all, and may fetch them


def take_away_models(base: Path) -> None:
    """All that earlier tests have fetched."""
    for folder in (base / "models" / "joyhallo", base / "hub"):
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def bare_base(base, hub) -> Path:
    take_away_models(base)
    hub.requests.clear()
    settings(base)
    return base


@pytest.fixture(scope="module")
def bare_page(browser, bare_base, start) -> Iterator[Page]:
    with browser.open(start(False).url) as page:
        yield page


# ---- whoever has all files


@pytest.fixture(scope="session")
def redub_base(base) -> Path:
    """With a file of every redub model, and a recording of 0.6 s, `brief.wav`."""
    take_away_models(base)
    stock(base)
    speech_of(0.6, FOLDER / "speech.wav", base / "input" / "brief.wav")
    settings(base)
    return base


@pytest.fixture(scope="session")
def redub_page(browser, redub_base, start) -> Iterator[Page]:
    with browser.open(start(False).url) as page:
        page.tab.set_viewport_size(size_of(SCREENS[0]))
        yield page
