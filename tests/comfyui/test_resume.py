"""In a running ComfyUI: what was finished is not made again, whatever stopped it, and comes out the same."""

from __future__ import annotations

import contextlib
import re
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
from film import Film

from tools.comfyui.server import Client, Server
from tools.demo import speech_of

STEPS, SAME = 3, 11
SPEECH, SHORT = "sentence.wav", "short.wav"  # of three chunks, and of one
CHUNKS = 3


def film(sound: str = SPEECH, **sampler) -> Film:
    return Film(
        sound=sound,
        sampler={"steps": STEPS, "resume": True, **sampler},
        saved={"format": "mkv", "quality": "small", "filename_prefix": "resumed"},
    )


def pixels(server: Server, run, node: str) -> np.ndarray:
    """Every number of the saved file's frames."""
    (saved,) = run.files(node)
    with av.open(str(server.base / "output" / saved["subfolder"] / saved["filename"])) as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])


def steps_of(run, graph: Film) -> list[int]:
    return [value for node, value, _ in run.progress if node == graph.sampler.node]


@pytest.fixture(scope="module", autouse=True)
def sentence(base) -> None:
    speech_of(1.6, base / "input" / "speech.wav", base / "input" / SPEECH)


@pytest.fixture
def journals(server) -> Path:
    folder = server.base / "user" / "__joyhallo" / "journal"
    shutil.rmtree(folder, ignore_errors=True)
    return folder


@pytest.fixture(scope="module")
def undisturbed(server) -> np.ndarray:
    """Frames of the clip with the seed SAME, made in one go, without a journal."""
    graph, client = film(seed=SAME, resume=False), Client(server.url)
    run = client.run(graph)
    assert run.status == "success", run.message
    return pixels(server, run, graph.saved.node)


@pytest.fixture
def nothing_kept(client) -> None:
    """In the memory of ComfyUI, which has made the undisturbed clip."""
    client.free()


def test_after_a_cancel_it_goes_on(server, client, undisturbed, journals, nothing_kept):
    graph = film(seed=SAME)
    assert not journals.exists()

    def cancel(kind, data, run):
        if kind == "progress" and data["node"] == graph.sampler.node and data["value"] == 2 * STEPS + 1:
            client.interrupt(run)

    assert client.run(graph, cancel).status == "interrupted"
    (journal,) = journals.iterdir()
    assert journal.suffix == ".chunks"
    again = client.run(graph)
    assert again.status == "success", again.message
    assert steps_of(again, graph)[0] == 2 * STEPS + 1
    assert np.array_equal(pixels(server, again, graph.saved.node), undisturbed)
    assert re.search(r"40 frames in 3 chunks, 2 of them finished earlier; up to .* on disk", server.text())


def test_killed_it_goes_on_in_another_process(
    comfyui, base, server, client, undisturbed, journals, nothing_kept, tmp_path
):
    """The process is killed, not asked to end. tests/files/test_journal.py kills again and again."""
    graph = film(seed=SAME)
    for folder in ("input", "models", "custom_nodes", "user"):
        (tmp_path / folder).symlink_to(base / folder, target_is_directory=True)
    with Server(tmp_path, tree=comfyui) as victim:

        def kill(kind, data, run):
            if kind == "progress" and data["node"] == graph.sampler.node and data["value"] >= 2 * STEPS + 2:
                victim.process.kill()

        with contextlib.suppress(Exception):  # whatever breaks first when the other side is gone
            Client(victim.url).run(graph, kill, timeout=60)
    (journal,) = journals.iterdir()
    with journal.open("ab") as file:
        file.write(b"torn")  # what a power cut may leave
    run = client.run(graph)
    assert run.status == "success", run.message
    assert steps_of(run, graph)[0] == 2 * STEPS + 1
    assert steps_of(run, graph)[-1] == CHUNKS * STEPS
    assert np.array_equal(pixels(server, run, graph.saved.node), undisturbed)


def test_what_is_whole_is_only_decoded(server, client, journals):
    graph = film(seed=13)
    first = client.run(graph)
    client.free()
    again = client.run(graph)
    assert steps_of(first, graph)
    assert not steps_of(again, graph)
    assert np.array_equal(pixels(server, again, graph.saved.node), pixels(server, first, graph.saved.node))


@pytest.mark.parametrize(
    "change", [{"seed": 15}, {"cfg": 2.0}, {"lip_weight": 0.5}, {"size": 128}, {"steps": 2}], ids=str
)
def test_another_clip_has_a_journal_of_its_own(client, journals, change):
    client.run(film(SHORT, seed=14))
    graph = film(SHORT, **{"seed": 14, **change})
    run = client.run(graph)
    assert steps_of(run, graph)[0] == 1
    assert len(list(journals.iterdir())) == 2


def test_what_the_latents_do_not_depend_on_shares_the_journal(client, journals):
    client.run(film(SHORT, seed=16))
    graph = film(SHORT, seed=16, picture="whole picture")
    run = client.run(graph)
    assert run.status == "success", run.message
    assert not steps_of(run, graph)
    assert len(list(journals.iterdir())) == 1


def test_a_damaged_chunk_is_made_again(server, client, undisturbed, journals, nothing_kept):
    graph = film(seed=SAME)
    client.run(graph)
    client.free()
    (journal,) = journals.iterdir()
    content = bytearray(journal.read_bytes())
    content[len(content) // 2] ^= 255
    journal.write_bytes(content)
    run = client.run(graph)
    assert len(steps_of(run, graph)) == STEPS
    assert np.array_equal(pixels(server, run, graph.saved.node), undisturbed)


def test_begin_anew_keeps_and_uses_nothing(client, journals):
    client.run(film(SHORT, seed=18, resume=False))
    assert not journals.exists()
