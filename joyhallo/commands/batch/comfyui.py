"""One ComfyUI, as it is asked over HTTP, with the standard library alone. Nothing here takes long to import."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import Request, urlopen

from ...files.space import amount

SECONDS = 60.0  # for an answer: a server that computes answers late
PIECE = 1 << 20  # bytes at a time
CLIENT = "joyhallo"
FOLDER = "joyhallo"  # within the server's folder of inputs

Prompt = dict[str, dict[str, Any]]  # by number of the node: its class_type and inputs


class AwayError(ConnectionError):
    """A server does not answer, or not as a ComfyUI does: what it was asked for may be asked again, of any."""


class RefusedError(ValueError):
    """A server does not take what it was asked for, and would not if it were asked again."""


class LostError(ValueError):
    """What a server says it has made is not there."""


@dataclass(frozen=True)
class Ended:
    """What became of a prompt."""

    error: str = ""  # "" if all went well
    node: str = ""  # the one that failed
    outputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by node: what it shows
    seconds: float = 0.0


class ComfyUI:
    def __init__(self, url: str):
        self.url = url

    # ---- what it is

    def nodes(self) -> dict[str, Any]:
        """All kinds of nodes, with their inputs."""
        return self._json("/object_info")

    def models(self, folder: str) -> dict[str, int]:
        """Bytes of each file in one of its folders of models, by its name in there; older versions do not tell."""
        try:
            listed = self._json(f"/experiment/models/{quote(folder)}")
            return {str(file["name"]).replace("\\", "/"): int(file.get("size", 0)) for file in listed}
        except RefusedError:
            return {}

    def _largest(self) -> int:
        """Bytes of an upload, at most; newer versions tell."""
        try:
            return int(self._json("/features").get("max_upload_size", 0))
        except RefusedError:
            return 0

    # ---- files

    def upload(self, path: Path, name: str) -> str:
        """The name by which nodes find it. Sent only if it is not there yet: the name tells its content."""
        place = {"filename": name, "subfolder": FOLDER, "type": "input"}
        size = path.stat().st_size
        if self._size(place) != size:
            most = self._largest()
            if 0 < most < size:
                raise RefusedError(
                    f"{path.name} has {amount(size)}, but {self.url} takes {amount(most)} at most; start that server "
                    f"with --max-upload-size {-(-size // (1 << 20)) + 1}."
                )
            self._send(path, name)
        return f"{FOLDER}/{name}"

    def _size(self, place: Mapping[str, str]) -> int | None:
        """Of a file; None if it is not there."""
        try:
            with self._asked(Request(self._address("/view", place), method="HEAD")) as reply:
                return int(reply.headers.get("Content-Length", -1))
        except RefusedError:
            return None

    def _send(self, path: Path, name: str) -> None:
        border = uuid.uuid4().hex
        fields = {"subfolder": FOLDER, "type": "input", "overwrite": "true"}
        texts = "".join(
            f'--{border}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{text}\r\n'
            for key, text in fields.items()
        )
        head = (
            f'{texts}--{border}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        tail = f"\r\n--{border}--\r\n".encode()
        size = len(head) + path.stat().st_size + len(tail)

        def body() -> Iterator[bytes]:
            yield head
            with path.open("rb") as file:
                while piece := file.read(PIECE):
                    yield piece
            yield tail

        headers = {"Content-Type": f"multipart/form-data; boundary={border}", "Content-Length": str(size)}
        with self._asked(Request(self._address("/upload/image"), body(), headers)) as reply:
            reply.read()

    def fetch(self, file: Mapping[str, str], target: Path) -> None:
        """What a node has saved, into a file."""
        try:
            with self._asked(Request(self._address("/view", file))) as reply, target.open("wb") as copy:
                size = int(reply.headers.get("Content-Length", -1))
                while piece := reply.read(PIECE):
                    copy.write(piece)
                if size not in (-1, copy.tell()):
                    raise AwayError(f"{self.url} broke off in the middle of {file['filename']}")
        except RefusedError as error:
            raise LostError(f"{self.url} has no {file['filename']} any more, though it made it") from error

    # ---- prompts

    def begin(self, prompt: Prompt, number: str) -> str:
        """Queue a prompt under a number, or under the one that is returned. A RefusedError says what does not fit."""
        # Without a client ComfyUI keeps to itself what it has saved, if it finds all in its memory.
        reply = self._json("/prompt", {"prompt": prompt, "prompt_id": number, "client_id": CLIENT})
        found = str(reply.get("prompt_id", number))
        if reply.get("node_errors"):  # of which the rest would run
            self.cancel([found])
            raise RefusedError(_unfit(reply, prompt))
        return found

    def ended(self, number: str) -> Ended | None:
        """What became of a prompt that has ended, for as long as the server runs."""
        found = self._json(f"/history/{number}").get(number)
        return None if found is None else _ended(found)

    def queued(self) -> dict[str, bool]:
        """Numbers of all prompts that wait, and whether they run."""
        queue = self._json("/queue")
        running, waiting = ({item[1] for item in queue[f"queue_{state}"]} for state in ("running", "pending"))
        return dict.fromkeys(waiting, False) | dict.fromkeys(running, True)

    def cancel(self, numbers: Collection[str]) -> None:
        """These alone, whether they wait or run."""
        self._post("/queue", {"delete": list(numbers)})
        for number, runs in self.queued().items():
            if runs and number in numbers:
                self._post("/interrupt", {"prompt_id": number})

    def forget(self, number: str) -> None:
        """How a prompt ended, so that it can be run again under its number."""
        self._post("/history", {"delete": [number]})

    # ---- HTTP

    def _address(self, path: str, query: Mapping[str, str] | None = None) -> str:
        return f"{self.url}{path}{f'?{urlencode(query)}' if query else ''}"

    def _json(self, path: str, body: Any = None) -> Any:
        with self._asked(self._request(path, body)) as reply:
            try:
                return json.loads(reply.read())
            except ValueError as error:
                raise AwayError(f"{self.url} answers, but not as a ComfyUI does") from error

    def _post(self, path: str, body: Any) -> None:
        with self._asked(self._request(path, body)) as reply:
            reply.read()

    def _request(self, path: str, body: Any) -> Request:
        data = None if body is None else json.dumps(body).encode()
        return Request(self._address(path), data, {} if data is None else {"Content-Type": "application/json"})

    @contextmanager
    def _asked(self, request: Request) -> Iterator[HTTPResponse]:
        try:
            with urlopen(request, timeout=SECONDS) as reply:
                yield reply
        except HTTPError as error:
            with error:
                raise self._told(request, error) from error
        except (URLError, HTTPException, ConnectionError, TimeoutError) as error:
            if isinstance(error, AwayError):
                raise
            raise AwayError(f"{self.url} does not answer ({getattr(error, 'reason', error) or 'no answer'})") from error

    def _told(self, request: Request, error: HTTPError) -> Exception:
        if error.code in (400, 404, 405, 413):
            with suppress(ValueError, HTTPException, OSError):
                if isinstance(told := json.loads(error.read()), dict):
                    return RefusedError(_unfit(told, _prompt_of(request)))
            return RefusedError(f"{self.url} answers {error.code} {error.reason}")
        return AwayError(f"{self.url} answers {error.code} {error.reason}")


def checked_url(text: str) -> str:
    """An address without what people leave at its end, or a ValueError."""
    found = text.strip() if "://" in text else f"http://{text.strip()}"
    parts = urlsplit(found)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"found {text!r:.80}, expected the address of a ComfyUI, as http://127.0.0.1:8188")
    parts.port  # noqa: B018 - a ValueError if it is no number
    return found.rstrip("/")


def with_files(prompt: Prompt, name: Callable[[Path], str]) -> Prompt:
    """The same prompt with the name of each file on a server."""
    return {
        number: {
            **node,
            "inputs": {key: name(value) if isinstance(value, Path) else value for key, value in node["inputs"].items()},
        }
        for number, node in prompt.items()
    }


def titled(prompt: Prompt, number: str) -> str:
    node = prompt.get(number, {})
    return str(node.get("_meta", {}).get("title") or node.get("class_type") or f"#{number}")


def _prompt_of(request: Request) -> Prompt:
    if not isinstance(request.data, bytes):
        return {}
    sent = json.loads(request.data)
    return sent.get("prompt", {}) if isinstance(sent, dict) else {}


def _unfit(reply: Mapping[str, Any], prompt: Prompt) -> str:
    """What ComfyUI says of a prompt that it does not take, or of which it would run only a part."""
    nodes = reply.get("node_errors") or {}
    found = [
        f"{titled(prompt, number)}: {': '.join(filter(None, (error.get('message'), error.get('details'))))}"
        for number, node in nodes.items()
        for error in node.get("errors", ())
    ]
    whole = reply.get("error", "")
    whole = whole.get("message", "") if isinstance(whole, dict) else str(whole)
    return "; ".join(found) or whole or "the server does not take this workflow"


def _ended(found: Mapping[str, Any]) -> Ended:
    status = found.get("status") or {}
    messages: dict[str, dict[str, Any]] = dict(status.get("messages", ()))
    begun = messages.get("execution_start", {}).get("timestamp", 0)
    last = max((data.get("timestamp", 0) for data in messages.values()), default=0)
    if failure := messages.get("execution_error"):
        words = str(failure.get("exception_message", "")).strip() or str(failure.get("exception_type", "it failed"))
        return Ended(words, str(failure.get("node_id", "")))
    if "execution_interrupted" in messages:
        return Ended("somebody stopped it on the server")
    if status.get("status_str", "success") != "success":
        return Ended(str(status.get("status_str")))
    return Ended("", "", found.get("outputs") or {}, max(0.0, (last - begun) / 1000))
