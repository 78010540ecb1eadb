"""A Hugging Face hub on loopback: as much of it as finding and fetching files takes, and ways to fail."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c0ffee" + 34 * "0"


@dataclass(frozen=True)
class Request:
    method: str
    file: str
    span: str | None
    token: str | None
    store: bool  # at the store that large files are kept in, which is another host


@dataclass
class Hub:
    """Files by "owner/name/path". Large ones lie in a store that the hub points to, `small` ones in git itself."""

    files: dict[str, bytes]
    small: set[str] = field(default_factory=set)
    refused: dict[str, int] = field(default_factory=dict)  # HTTP status by file
    declared_size: dict[str, int] = field(default_factory=dict)
    declared_hash: dict[str, str] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)  # after how many bytes each coming answer breaks off
    ranges: bool = True  # whether parts of files can be asked for
    resumable: bool = True  # if not, requests for parts are refused
    requests: list[Request] = field(default_factory=list)
    may_refuse: threading.Event = field(default_factory=threading.Event)  # until it is set, refusals are late
    port: int = 0

    def __post_init__(self):
        self.may_refuse.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def spans(self) -> list[str | None]:
        """Which part was asked for, each time that bytes were."""
        return [request.span for request in self.requests if request.method == "GET" and self.served(request)]

    def served(self, request: Request) -> bool:
        return request.store or request.file in self.small

    def hash(self, file: str) -> str:
        data = self.files[file]
        if file in self.small:
            return self.declared_hash.get(file, hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest())
        return self.declared_hash.get(file, hashlib.sha256(data).hexdigest())


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format, *args):
            pass

        def do_HEAD(self):
            self.answer()

        def do_GET(self):
            self.answer()

        def answer(self):
            place, store = self.path.lstrip("/"), self.path.startswith("/store/")
            file = place.removeprefix("store/").replace("/resolve/main/", "/").replace(f"/resolve/{COMMIT}/", "/")
            span = self.headers.get("Range")
            if not file.startswith("api/"):  # what huggingface_hub asks for itself
                hub.requests.append(Request(self.command, file, span, self.headers.get("Authorization"), store))
            if file in hub.refused or file not in hub.files:
                self.refuse(hub.refused.get(file, 404))
            elif store and span and not hub.resumable:
                self.refuse(416)
            elif store or file in hub.small:
                self.send(file, span if hub.ranges else None)
            else:
                self.point_to_store(file)

        def refuse(self, status):
            hub.may_refuse.wait(30)
            self.send_response(status)
            if status == 404:
                self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def point_to_store(self, file):
            self.send_response(302)
            self.send_header("Location", f"http://localhost:{hub.port}/store/{file}")
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("X-Linked-ETag", f'"{hub.hash(file)}"')
            self.send_header("X-Linked-Size", str(hub.declared_size.get(file, len(hub.files[file]))))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def send(self, file, span):
            data = hub.files[file]
            start = int(span.removeprefix("bytes=").removesuffix("-")) if span else 0
            self.send_response(206 if span else 200)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hub.hash(file)}"')
            self.send_header("Content-Length", str(len(data) - start))
            if span:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.end_headers()
            if self.command == "GET":
                end = start + hub.cuts.pop(0) if hub.cuts else len(data)
                self.wfile.write(data[start:end])
                self.close_connection = end < len(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
