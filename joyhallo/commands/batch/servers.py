"""Rows on ComfyUI servers: a thread for each server takes rows, one after the other, from a pool that all share.

A server that dies loses no row: what it had goes back into the pool, and it is asked again now and then.
"""

from __future__ import annotations

import logging
import math
import os
import queue
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ...files.digests import digest_of
from ...film.read import Film
from ..jobs import Job
from .comfyui import AwayError, ComfyUI, Ended, LostError, Prompt, RefusedError, titled, with_files
from .manifest import ARRIVING, DONE, FAILED, Entry, read_of
from .rows import Work, named, scored, thumbnail_of, why, write_thumbnail
from .table import ENDINGS

log = logging.getLogger(__name__)

AHEAD = 2  # rows that a server has at a time: the next one waits in its queue, so that it never idles
GRACE = 3.0  # seconds in which a server that is slow to answer keeps its rows
AGAIN = (0.5, 10.0)  # seconds until a server that is away is asked again: at first, and at most
PAUSE = (0.05, 1.0)  # seconds between two looks at a row: at least and at most
SHARE = 0.05  # of the time that a row has taken so far, between two looks at it
DEATHS = 5  # of servers, under one row, until the row is held to be the reason
SUSPECT = 2  # of them, from which on a row is made after all others
TRIES = 3  # at a film that a server says it made, and does not have
NUMBERS = uuid.UUID("6f1d3a52-0c5e-4b0e-9d4b-7a1f0f6f2c11")  # of our prompts


class ServersError(RuntimeError):
    """No server is left."""


class UnfitError(ValueError):
    """A server cannot make these rows at all."""


class Orders(Protocol):
    """How rows become prompts."""

    @property
    def needed(self) -> Collection[str]:
        """Kinds of nodes."""
        ...

    def prompt(self, job: Job, name: str, server: ComfyUI) -> Prompt:
        """With files of this machine where names of uploaded ones go. name: of what is saved, and of nothing else"""
        ...

    def keep(self, job: Job, key: str, file: Path) -> Path:
        """A fetched film as it is kept."""
        ...


@dataclass
class Ticket:
    """A row that is to be made."""

    work: Work
    deaths: int = 0  # of servers, while they had it
    lost: int = 0  # films that a server no longer had
    key: str = ""
    read: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of what is saved on a server: the same for the same film, so that what a killed run began is found."""
        return f"{self.key[:32]}{f'-{self.lost}' if self.lost else ''}"

    @property
    def take(self) -> str:
        """The number of the node whose film is taken; "" for the last."""
        return str(self.work.task.job.options.get("take", "")).removeprefix("#")


@dataclass
class Flight:
    ticket: Ticket
    number: str
    prompt: Prompt
    begun: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Arrived:
    """A film that has been fetched, and has not got its name yet."""

    entry: Entry
    file: Path
    target: Path


# ---- all servers


class Crew:
    def __init__(self, works: Sequence[Work], urls: Sequence[str], orders: Orders, place: Path):
        """works: those that take longest first; place: a folder on the disk of the films"""
        self.orders, self.place = orders, place
        self.over = threading.Event()
        self.came: queue.Queue[Entry | Arrived | str | BaseException] = queue.Queue()
        self._waiting = deque(map(Ticket, works))
        self._changed = threading.Condition()
        self.hands = [Hand(self, ComfyUI(url)) for url in urls]

    def take(self, at_hand: int) -> Ticket | None:
        """The next row. at_hand: how many a server has; near the end none gets two while others have nothing.

        A row under which a server has died is made alone, so that it is known which one did it.
        """
        with self._changed:
            if not self._waiting or (at_hand and self._waiting[0].deaths):
                return None
            enough = not at_hand or len(self._waiting) >= sum(hand.there for hand in self.hands)
            return self._waiting.popleft() if enough else None

    def put_back(self, tickets: Sequence[Ticket]) -> None:
        """To be made next; but a row under which servers have died keeps no other waiting."""
        with self._changed:
            self._waiting.extendleft(ticket for ticket in reversed(tickets) if ticket.deaths < SUSPECT)
            self._waiting.extend(ticket for ticket in tickets if ticket.deaths >= SUSPECT)
            self._changed.notify_all()

    def wait(self, seconds: float) -> None:
        """Until there are rows again, or so long."""
        with self._changed:
            if not self._waiting and not self.over.is_set():
                self._changed.wait(seconds)

    def entries(self, say: Callable[[str], None], patience: float) -> Iterator[Entry]:
        """As they come. say: what should be known of servers; patience: seconds without any server until it gives up"""
        left = len(self._waiting)
        for hand in self.hands:
            hand.thread.start()
        try:
            while left:
                found = self._next()
                if isinstance(found, str):
                    say(found)
                elif isinstance(found, BaseException):
                    raise found
                elif found is not None:
                    left -= 1
                    yield from self._placed(found)
                elif self._is_deserted(patience):
                    yield from self._given_up()
                    raise ServersError(self._deserted(left))
        finally:
            self.stop()

    def _next(self) -> Entry | Arrived | str | BaseException | None:
        with suppress(queue.Empty):
            return self.came.get(timeout=0.3)
        return None

    def _placed(self, found: Entry | Arrived) -> Iterator[Entry]:
        if not isinstance(found, Arrived):
            yield found
            return
        known = {name: found.entry[name] for name in ("row", "file", "kind", "key", "server")}
        yield {**known, "state": ARRIVING}  # so that after a kill it is known whose the film is
        try:
            found.target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(found.file, found.target)
        except OSError as error:
            yield {**found.entry, "state": FAILED, "error": why(error)}
            return
        yield found.entry

    def _is_deserted(self, patience: float) -> bool:
        return all(not hand.there and time.monotonic() - hand.since > patience for hand in self.hands)

    def _given_up(self) -> Iterator[Entry]:
        self.stop()
        for ticket in self._waiting:
            yield failed(ticket, "no ComfyUI server was left to make it; run the table again")

    def _deserted(self, left: int) -> str:
        reasons = "\n".join(f"- {hand.away}" for hand in self.hands)
        return (
            f"No ComfyUI server is left, so {left} rows were not made. Start the servers, or give others, and run the "
            f"same command again; what is done stays.\n{reasons}"
        )

    def stop(self) -> None:
        """Our own prompts are taken back, too."""
        self.over.set()
        with self._changed:
            self._changed.notify_all()
        for hand in self.hands:
            if hand.thread.is_alive():
                hand.thread.join(15)


# ---- one server


class Hand:
    """What one server has of the rows."""

    def __init__(self, crew: Crew, server: ComfyUI):
        self.crew, self.server = crew, server
        self.there, self.since, self.away = True, 0.0, ""  # or since when it is not there, and why
        self.flights = list[Flight]()
        self.thread = threading.Thread(target=self._run, name=server.url, daemon=True)

    def _run(self) -> None:
        delay = AGAIN[0]
        try:
            while not self.crew.over.is_set():
                try:
                    self._greet()
                    delay = AGAIN[0]
                    self._serve()
                except (AwayError, RefusedError) as error:
                    if not self.crew.over.is_set():
                        self._lose(str(error))
                    self.crew.over.wait(delay)
                    delay = min(2 * delay, AGAIN[1])
        except UnfitError as error:
            self.there, self.since, self.away = False, -math.inf, str(error)
            self.crew.came.put(f"{error} It gets no rows.")
        except BaseException as error:
            self.crew.came.put(error)
        finally:
            self._take_back()

    def _greet(self) -> None:
        if lacking := sorted(set(self.crew.orders.needed) - self.server.nodes().keys()):
            raise UnfitError(unfit(self.server, lacking))
        if not self.there:
            self.crew.came.put(f"{self.server.url} is back.")
        self.there = True

    def _lose(self, reason: str) -> None:
        """Give back all rows. Any of them may be what the server died of."""
        if self.there:
            self.crew.came.put(f"{reason}; its rows go to other servers, and it is asked again.")
            self.there, self.since = False, time.monotonic()
        self.away = reason
        tickets = [flight.ticket for flight in self.flights]
        self.flights.clear()
        for ticket in tickets:
            ticket.deaths += 1
            if ticket.deaths >= DEATHS:
                self.crew.came.put(failed(ticket, f"{DEATHS} times a server went away while it made this: {reason}"))
        self.crew.put_back([ticket for ticket in tickets if ticket.deaths < DEATHS])

    def _take_back(self) -> None:
        if self.flights:
            with suppress(AwayError, RefusedError):
                self.server.cancel([flight.number for flight in self.flights])

    # ---- its work

    def _serve(self) -> None:
        while not self.crew.over.is_set():
            while self._has_room() and (ticket := self.crew.take(len(self.flights))) is not None:
                self._begin(ticket)
            if not self.flights:
                self.crew.wait(1.0)
                continue
            self._look(self.flights[0])

    def _has_room(self) -> bool:
        return len(self.flights) < AHEAD and not any(flight.ticket.deaths for flight in self.flights)

    def _look(self, first: Flight) -> None:
        """Whether the row that was begun first has ended."""
        if (ended := self._patiently(lambda: self._ended(first))) is not None:
            self._conclude(first, ended)
        else:
            self.crew.over.wait(min(PAUSE[1], max(PAUSE[0], SHARE * (time.monotonic() - first.begun))))

    def _begin(self, ticket: Ticket) -> None:
        flight = Flight(ticket, "", {})
        self.flights.append(flight)
        try:
            if not ticket.key:
                job = ticket.work.task.job
                ticket.read, ticket.key = read_of(job), job.key()
            self._patiently(lambda: self._send(flight))
        except AwayError:
            raise
        except Exception as error:
            self._fail(flight, error)

    def _send(self, flight: Flight) -> None:
        """Unless the server has it already, from a run that was killed."""
        job, name = flight.ticket.work.task.job, flight.ticket.name
        flight.number = str(uuid.uuid5(NUMBERS, name))
        ended = self.server.ended(flight.number)
        if (ended is not None and not ended.error) or flight.number in self.server.queued():
            return
        if ended is not None:
            self.server.forget(flight.number)
        prompt = with_files(self.crew.orders.prompt(job, name, self.server), self._uploaded)
        flight.prompt, flight.number = prompt, self.server.begin(prompt, flight.number)

    def _uploaded(self, path: Path) -> str:
        return self.server.upload(path, f"{digest_of(path)[:32]}{path.suffix.lower()}")

    def _ended(self, flight: Flight) -> Ended | None:
        """None as long as it is not known; an AwayError if the server has forgotten all about it."""
        number = flight.number
        if (ended := self.server.ended(number)) is not None or number in self.server.queued():
            return ended
        if (ended := self.server.ended(number)) is None:  # it may have ended between two questions
            raise AwayError(f"{self.server.url} has lost its queue; it was started anew")
        return ended

    def _conclude(self, flight: Flight, ended: Ended) -> None:
        try:
            if ended.error:
                raise RefusedError(self._said(flight, ended))
            arrived = self._patiently(lambda: self._fetched(flight, ended))
        except AwayError:
            raise
        except LostError as error:
            self._make_again(flight, error)
        except Exception as error:
            self._fail(flight, error)
        else:
            self.flights.remove(flight)
            self.crew.came.put(arrived)

    def _said(self, flight: Flight, ended: Ended) -> str:
        own = flight.ticket.work.task.job.kind != "workflow"
        return ended.error if own or not ended.node else f"{titled(flight.prompt, ended.node)}: {ended.error}"

    def _make_again(self, flight: Flight, error: LostError) -> None:
        flight.ticket.lost += 1
        if flight.ticket.lost >= TRIES:
            return self._fail(flight, error)
        self.flights.remove(flight)
        self.crew.put_back([flight.ticket])

    def _fail(self, flight: Flight, error: Exception) -> None:
        log.debug("a row failed", exc_info=error)
        self.flights.remove(flight)
        self.crew.came.put(failed(flight.ticket, why(error), self.server.url, time.monotonic() - flight.begun))

    def _fetched(self, flight: Flight, ended: Ended) -> Arrived:
        ticket, job = flight.ticket, flight.ticket.work.task.job
        film = film_of(ended.outputs, ticket.take)
        ending, wished = Path(film["filename"]).suffix.lower(), job.output.suffix.lower()
        if ending != wished:
            raise RefusedError(f"the film of the workflow is {film['filename']}, but output ends in {wished}; give it "
                               f"{ending}")  # fmt: skip
        file = self.crew.place / f"{uuid.uuid4().hex}{ending}"
        self.server.fetch(film, file)
        file = self.crew.orders.keep(job, ticket.key, file)
        write_thumbnail(file, thumbnail_of(ticket.work.folder, ticket.key))
        facts = Film(file, threads=1).facts
        about = {"frames": facts.count, "seconds": round(facts.seconds, 3), "bytes": file.stat().st_size}
        took = {"server": self.server.url, "took": round(ended.seconds or time.monotonic() - flight.begun, 3)}
        entry = {**named(ticket.work), "state": DONE, "key": ticket.key, "read": ticket.read, **about, **took}
        return Arrived(scored(ticket.work, entry, file), file, job.output)

    def _patiently(self, ask: Callable[[], Any]) -> Any:
        """Ask again for a while, where a server is slow or the network has a hiccup."""
        end = time.monotonic() + GRACE
        while True:
            try:
                return ask()
            except AwayError:
                if time.monotonic() > end or self.crew.over.wait(0.3):
                    raise


def unfit(server: ComfyUI, lacking: Sequence[str]) -> str:
    return f"{server.url} does not know the nodes {', '.join(lacking)}; install their pack there."


def film_of(outputs: Mapping[str, Mapping[str, Any]], take: str) -> dict[str, str]:
    """Where the last film is that was saved, by this node or by any; a RefusedError if there is none."""
    shown = [outputs.get(take, {})] if take else list(outputs.values())
    lists = [items for one in shown for items in one.values() if isinstance(items, list)]
    files = [item for items in lists for item in items if isinstance(item, dict) and "filename" in item]
    films = [file for file in files if Path(file["filename"]).suffix.lower() in ENDINGS]
    if not films:
        found = ", ".join(file["filename"] for file in files) or "nothing"
        raise RefusedError(f"the workflow saved no film; it saved {found}")
    last = ([film for film in films if film.get("type") == "output"] or films)[-1]
    return {name: str(last.get(name, "")) for name in ("filename", "subfolder", "type")}


def failed(ticket: Ticket, words: str, url: str = "", took: float = 0.0) -> Entry:
    where = {"server": url} if url else {}
    about = {"state": FAILED, "key": ticket.key, "read": ticket.read, "error": words}
    return {**named(ticket.work), **about, **where, "took": round(took, 3)}
