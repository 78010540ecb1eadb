"""`fetch` downloads `Published` model files from Hugging Face, and only when asked to.

huggingface_hub handles the server, mirrors, proxies, tokens and the offline switch. The bytes are received here,
because recent versions of its own download discard a partial file on cancel, which hurts at 5 GB.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ..libraries import brief, library
from .regular import IrregularError, open_regular, size_of
from .space import DISK_FULL, Need, RoomError, amount, check_disks

log = logging.getLogger(__name__)

REVISION = "main"  # the commit that the paper used is not known
CHUNK = 256 << 10
ATTEMPTS = 3  # in a row without a byte received
PAUSE = 1.0  # seconds between them

Progress = Callable[[int, int], None]


class DownloadError(RuntimeError):
    """Files could not be fetched; the message says why, and what to do."""


@dataclass(frozen=True)
class Published:
    """A file that its authors publish, and its place in JoyHallo's folder `pretrained_models`."""

    place: str
    repository: str
    path: str
    size: int | None = None  # approximate, if known beforehand; the exact size comes from the server
    alike: tuple[str, ...] = ()  # places of files that serve the same purpose
    needed: bool = True  # False for files that help but are optional
    licence: str = ""

    @property
    def page(self) -> str:
        return f"{_server()}/{self.repository}"


def fetch(files: Mapping[Path, Published], progress: Progress = lambda done, total: None) -> None:
    """Put every file in its place, complete and verified, or raise a DownloadError.

    `progress` gets the bytes received so far and in all; raise from it to cancel. A partial file is kept beside its
    place, and the next call resumes it.
    """
    offers = [_ask(target, file) for target, file in files.items()]
    _check_space(offers)
    total, done = sum(offer.size for offer in offers), 0
    log.info("Fetching %d files of %s in all", len(offers), amount(total))
    for note in dict.fromkeys(file.licence for file in files.values() if file.licence):
        log.warning("%s.", note)
    for offer in offers:

        def report(received: int, before: int = done) -> None:
            progress(before + received, total)

        _receive(offer, report)
        _verify(offer, report)
        with _writing(offer):
            os.replace(offer.part, offer.target)
        log.info("%s downloaded from %s", offer.target, offer.file.page)
        done += offer.size


# ---- what the server offers


@dataclass(frozen=True)
class _Offer:
    target: Path
    file: Published
    url: str
    size: int
    hash: str  # sha256 of files in large file storage, git's own hash of small files

    @property
    def part(self) -> Path:
        """The partial file. Its name holds the hash, so a file that changed at its source starts afresh."""
        return self.target.with_name(f"{self.target.name}.{self.hash[:8]}.part")

    @property
    def received(self) -> int:
        try:
            return size_of(self.part)
        except IrregularError as error:
            raise DownloadError(str(error)) from error


def _ask(target: Path, file: Published) -> _Offer:
    hub = _hub()

    def url(revision: str) -> str:
        return hub.hf_hub_url(file.repository, file.path, revision=revision)

    try:
        with _explained(file):
            told = hub.get_hf_file_metadata(url(REVISION), timeout=_constants().HF_HUB_ETAG_TIMEOUT)
    except _Broken as error:
        raise DownloadError(_unreachable(str(error))) from error
    if told.size is None or not re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", told.etag or ""):
        raise DownloadError(
            f"{_server()} gives no size and hash for {file.path}, so it is not a Hugging Face server; check "
            "HF_ENDPOINT, and whether a proxy or a login page answers instead."
        )
    return _Offer(target, file, url(told.commit_hash or REVISION), told.size, told.etag)


def _check_space(offers: Iterable[_Offer]) -> None:
    needs = [
        Need("the download", offer.target.parent, max(0, offer.size - offer.received))
        for offer in offers
        if any(folder.is_dir() for folder in offer.target.parents)  # otherwise its drive is missing: writing will say
    ]
    try:
        check_disks(needs, "make room, or put the model folder on another disk")
    except RoomError as error:
        raise DownloadError(str(error)) from error


# ---- bytes


class _Broken(Exception):
    """The connection ended before the file did."""


class _Unresumable(Exception):
    """The server has nothing from where the partial file ends."""


def _receive(offer: _Offer, report: Callable[[int], None]) -> None:
    """Receive the whole file, in as many requests as it takes."""
    with _writing(offer):
        offer.target.parent.mkdir(parents=True, exist_ok=True)
        for stale in set(offer.target.parent.glob(f"{offer.target.name}.*.part")) - {offer.part}:
            stale.unlink()
    with _part(offer, os.O_RDWR | os.O_CREAT):
        pass
    received, fruitless, anew, trouble = offer.received, 0, False, "it closed the connection"
    report(received)
    while received < offer.size:
        before = received
        try:
            with closing(_chunks(offer, received)) as chunks, _part(offer, os.O_RDWR) as part:
                part.seek(received)
                for chunk in chunks:
                    part.write(chunk)
                    received += len(chunk)
                    report(received)
                    if received > offer.size:
                        break  # longer than announced: the hash check will fail
                part.flush()
                os.fsync(part.fileno())
        except _Broken as error:
            trouble = str(error)
        except _Unresumable as error:
            if anew:
                raise DownloadError(_refused(416, offer.file)) from error
            log.info("%s cannot resume %s at %s; starting anew", _server(), offer.file.path, amount(received))
            with _part(offer, os.O_RDWR) as part:
                part.truncate()
            received, anew = 0, True
            continue
        if received < offer.size:
            fruitless = 0 if received > before else fruitless + 1
            if fruitless == ATTEMPTS:
                raise DownloadError(_unreachable(trouble))
            log.info("The connection broke at %s of %s; resuming", amount(received), offer.file.path)
            time.sleep(PAUSE)


def _chunks(offer: _Offer, start: int) -> Generator[bytes, None, None]:
    """The bytes of the file from `start` on, until it ends or the connection breaks."""
    headers = _utils().build_hf_headers() | {"Accept-Encoding": "identity"}  # compressed transfers cannot be resumed
    if start:
        headers["Range"] = f"bytes={start}-"
    with _explained(offer.file, resuming=start > 0), _answer(offer.url, headers) as (status, chunks):
        skipped = start if status == 200 else 0  # some servers answer a request for a range with the whole file
        for chunk in chunks:
            yield chunk[skipped:]
            skipped = max(0, skipped - len(chunk))


@contextmanager
def _answer(url: str, headers: Mapping[str, str]) -> Iterator[tuple[int, Iterator[bytes]]]:
    """Status and bytes, through the HTTP library that huggingface_hub uses: requests, or httpx from its 1.0 on."""
    session, asked = _utils().get_session(), {"headers": headers, "timeout": _constants().HF_HUB_DOWNLOAD_TIMEOUT}
    httpx = hasattr(session, "build_request")  # sessions of requests lack it
    with session.stream("GET", url, **asked) if httpx else session.get(url, stream=True, **asked) as response:
        _utils().hf_raise_for_status(response)
        yield response.status_code, response.iter_bytes(CHUNK) if httpx else response.iter_content(CHUNK)


def _verify(offer: _Offer, report: Callable[[int], None]) -> None:
    """Read the file back from disk and compare it with the hash that the server gave."""
    if len(offer.hash) == 64:
        digest = hashlib.sha256()
    else:
        digest = hashlib.sha1(b"blob %d\0" % offer.size, usedforsecurity=False)
    with _part(offer, os.O_RDONLY) as part:
        while chunk := part.read(8 * CHUNK):
            digest.update(chunk)
            report(offer.size)
    if digest.hexdigest() != offer.hash:
        offer.part.unlink()
        raise DownloadError(
            f"{offer.file.path} of {offer.file.repository} arrived from {_server()} with a wrong hash and was "
            "deleted; try again, and if it fails again, try without the proxy or mirror."
        )


# ---- words


@contextmanager
def _explained(file: Published, resuming: bool = False) -> Iterator[None]:
    """Turn errors of huggingface_hub into DownloadErrors, and a lost connection into _Broken."""
    utils = _utils()
    try:
        yield
    except utils.OfflineModeIsEnabled as error:
        raise DownloadError(
            f"HF_HUB_OFFLINE is set, so nothing is downloaded; unset it, or download the files from {file.page} by "
            "hand."
        ) from error
    except utils.HfHubHTTPError as error:
        status = error.response.status_code
        if status == 429 or status >= 500:
            raise _Broken(f"HTTP status {status}") from error
        if status == 416 and resuming:  # range not satisfiable
            raise _Unresumable from error
        raise DownloadError(_refused(status, file)) from error
    except (*utils.HfHubHTTPError.__bases__, OSError) as error:  # of either HTTP library
        raise _Broken(brief(error)) from error


def _refused(status: int, file: Published) -> str:
    if status in (401, 403):
        return (
            f"{file.page} denies access (HTTP status {status}): it is private, gated or gone; open it in a browser, "
            "accept its terms if it has any, and log in with `hf auth login` or set HF_TOKEN."
        )
    if status == 404:
        return f"{file.page} has no file {file.path}; look for it there, and put it in its place by hand."
    return f"{file.page} refuses to send {file.path} (HTTP status {status}); download it by hand."


def _unreachable(trouble: str) -> str:
    return (
        f"{_server()} cannot be reached or breaks off ({trouble}); check the connection and the proxy, or set the "
        "environment variable HF_ENDPOINT to a mirror, such as https://hf-mirror.com in mainland China. The bytes "
        "received are kept, and the next try resumes from there."
    )


@contextmanager
def _part(offer: _Offer, flags: int) -> Iterator[BinaryIO]:
    with _writing(offer), open(open_regular(offer.part, flags), "rb" if flags == os.O_RDONLY else "r+b") as part:
        yield part


@contextmanager
def _writing(offer: _Offer) -> Iterator[None]:
    folder = offer.target.parent
    try:
        yield
    except IrregularError as error:
        raise DownloadError(str(error)) from error
    except OSError as error:
        if error.errno in DISK_FULL:
            raise DownloadError(
                f"The disk of {folder} is full, or does not allow files as large as {offer.target.name} "
                f"({amount(offer.size)}); make room and try again: the download resumes."
            ) from error
        raise DownloadError(
            f"{offer.part.name} cannot be written to {folder} ({brief(error)}); change the permissions, or use "
            "another model folder."
        ) from error


def _server() -> str:
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


# ---- huggingface_hub, imported on first use


def _hub(part: str = "") -> Any:
    return library(f"huggingface_hub{part}", "Fetching model files", "or put the files in place by hand.")


def _utils() -> Any:
    return _hub(".utils")


def _constants() -> Any:
    return _hub(".constants")
