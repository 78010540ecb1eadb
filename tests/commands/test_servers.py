"""Rows on servers that die, lose films, or are left alone: a stand-in answers as ComfyUI does, and fails on purpose."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from joyhallo.commands.batch import servers
from joyhallo.commands.batch.manifest import DONE, FAILED
from joyhallo.commands.batch.rows import Work
from joyhallo.commands.batch.servers import Crew, ServersError
from joyhallo.commands.batch.table import Task
from joyhallo.commands.jobs import Job
from joyhallo.commands.options import TRACKING

NOBODY = "http://127.0.0.1:9"  # where nothing listens


class StandIn:
    """A ComfyUI that ends every prompt at once."""

    url = ""

    def __init__(self, film: bytes):
        self.film, self.posted, self.deleted, self.interrupted = film, list[str](), list[str](), list[str]()
        self.history, self.running, self.lost = dict[str, Any](), list[str](), set[str]()
        self.deadly = ""  # what is in prompts after which it breaks off
        self.endless = False  # whether prompts never end
        self.uploaded = dict[str, bytes]()

    def get(self, path: str, query: dict[str, list[str]]) -> Any:
        if path.startswith("/history/"):
            number = path.rpartition("/")[2]
            return {number: self.history[number]} if number in self.history else {}
        if path == "/queue":
            return {"queue_running": [[0, number, {}, {}, []] for number in self.running], "queue_pending": []}
        if path == "/view":
            name = query["filename"][0]
            if query["type"] == ["input"]:
                return self.uploaded.get(name)
            return None if name in self.lost else self.film
        return {"Save": {"output_node": True}} if path == "/object_info" else {}

    def post(self, path: str, body: bytes) -> Any:
        if path == "/upload/image":
            head, _, content = body.partition(b"application/octet-stream\r\n\r\n")
            name = head.rpartition(b'filename="')[2].partition(b'"')[0].decode()
            assert name not in self.uploaded
            self.uploaded[name] = content.rpartition(b"\r\n--")[0]
            return {}
        told = json.loads(body)
        if path == "/prompt":
            return self._begin(told)
        if path == "/interrupt":
            self.interrupted.append(told["prompt_id"])
        for number in told.get("delete", ()):
            self.deleted.append(number)
            self.history.pop(number, None)
        return {}

    def _begin(self, told: dict[str, Any]) -> Any:
        number, name = told["prompt_id"], told["prompt"]["1"]["inputs"]["name"]
        if self.deadly and self.deadly in name:
            raise ConnectionError
        self.posted.append(name)
        if self.endless:
            self.running.append(number)
        else:
            self.history[number] = ended(name)
        return {"prompt_id": number, "node_errors": {}}


def ended(name: str) -> dict[str, Any]:
    files = [{"filename": f"{name}.mkv", "subfolder": "", "type": "output"}]
    return {"status": {"status_str": "success", "messages": []}, "outputs": {"1": {"images": files}}}


@pytest.fixture
def stand_in(material, monkeypatch) -> Iterator[StandIn]:
    for name, value in {"GRACE": 0.0, "AGAIN": (0.01, 0.02), "PAUSE": (0.01, 0.02)}.items():
        monkeypatch.setattr(servers, name, value)
    stand = StandIn((material / "film.mkv").read_bytes())

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            self._answer(stand.get(parts.path, parse_qs(parts.query)))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            try:
                self._answer(stand.post(self.path, body))
            except ConnectionError:
                self.close_connection = True

        do_HEAD = do_GET

        def _answer(self, found: Any) -> None:
            content = found if isinstance(found, bytes) else json.dumps(found).encode()
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        stand.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield stand
        server.shutdown()


class Orders:
    needed = ("Save",)

    def prompt(self, job: Job, name: str, server: Any) -> Any:
        return {"1": {"class_type": "Save", "inputs": {"sound": job.inputs["sound"], "name": name}}}

    def keep(self, job: Job, key: str, file: Path) -> Path:
        return file


@pytest.fixture
def crew(material, tmp_path):
    def crew(count: int, *urls: str) -> tuple[Crew, list[Work]]:
        jobs = [Job("workflow", {"sound": material / "hello.wav"}, {"seed": seed}, tmp_path / f"{seed}.mkv")
                for seed in range(count)]  # fmt: skip
        works = [Work(Task(seed, job), tmp_path) for seed, job in enumerate(jobs)]
        (tmp_path / "place").mkdir(exist_ok=True)
        return Crew(works, urls, Orders(), tmp_path / "place"), works

    return crew


def name_of(work: Work) -> str:
    return work.task.job.key()[:32]


def done(entries: list[dict[str, Any]]) -> list[str]:
    return sorted(entry["file"] for entry in entries if entry["state"] == DONE)


def test_each_film_is_announced_before_it_is_there_and_inputs_go_up_once(stand_in, crew, material, tmp_path):
    hands, _ = crew(3, stand_in.url)
    for entry in hands.entries(print, 60):
        assert (tmp_path / entry["file"]).exists() == (entry["state"] == DONE)
    assert (tmp_path / "2.mkv").read_bytes() == stand_in.film
    assert not list((tmp_path / "place").iterdir())
    assert list(stand_in.uploaded.values()) == [(material / "hello.wav").read_bytes()]


def test_films_are_scored_before_they_get_their_names(stand_in, crew):
    hands, works = crew(1, stand_in.url)
    usual = {option.name: option.default for option in TRACKING}
    hands._waiting[0].work = replace(works[0], finding=usual | {"box": (40.0, 40.0, 90.0, 100.0)})
    made = list(hands.entries(print, 60))[-1]
    assert (made["state"], made["score"]) == (DONE, None)
    assert "has no sound" in made["not_scored"]


def test_a_row_that_kills_servers_is_given_up_and_others_are_made(stand_in, crew):
    hands, works = crew(4, stand_in.url, NOBODY)
    stand_in.deadly = name_of(works[1])
    entries = list(hands.entries(print, 60))
    (failed,) = [entry for entry in entries if entry["state"] == FAILED]
    assert (failed["file"], "5 times a server went away" in failed["error"]) == ("1.mkv", True)
    assert done(entries) == ["0.mkv", "2.mkv", "3.mkv"]


def test_when_nobody_is_left_rows_say_so_and_the_run_ends(crew, stand_in):
    hands, _ = crew(2, NOBODY)
    came, entries = hands.entries(print, 0.2), []
    with pytest.raises(ServersError, match="No ComfyUI server is left, so 2 rows were not made"):
        entries.extend(came)
    assert [entry["state"] for entry in entries] == [FAILED] * 2
    assert "no ComfyUI server was left" in entries[0]["error"]


def test_a_film_that_is_gone_is_made_again_under_another_name(stand_in, crew):
    hands, works = crew(1, stand_in.url)
    stand_in.lost.add(f"{name_of(works[0])}.mkv")
    assert done(list(hands.entries(print, 60))) == ["0.mkv"]
    assert stand_in.posted == [name_of(works[0]), f"{name_of(works[0])}-1"]


def test_what_a_killed_run_has_left_is_fetched_and_not_made_again(stand_in, crew):
    hands, works = crew(2, stand_in.url)
    list(hands.entries(print, 60))
    hands, _ = crew(2, stand_in.url)
    assert done(list(hands.entries(print, 60))) == ["0.mkv", "1.mkv"]
    assert sorted(stand_in.posted) == sorted(map(name_of, works))


def test_whoever_stops_takes_back_what_is_ours_alone(stand_in, crew, monkeypatch):
    stand_in.endless = True
    stand_in.running.append("somebody's")
    hands, _ = crew(3, stand_in.url)
    coming = hands._next

    def interrupted() -> Any:
        if len(stand_in.posted) == servers.AHEAD:
            raise KeyboardInterrupt
        return coming()

    monkeypatch.setattr(hands, "_next", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(hands.entries(print, 60))
    ours = [number for number in stand_in.running if number != "somebody's"]
    assert sorted(stand_in.deleted) == sorted(ours)
    assert sorted(stand_in.interrupted) == sorted(ours)
