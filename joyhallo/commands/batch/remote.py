"""Work on ComfyUI servers, as a command line asks for it: all that can be known beforehand is checked beforehand."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...files.scratch import scratch
from . import workflow
from .comfyui import AwayError, ComfyUI, RefusedError, checked_url
from .manifest import Entry
from .rows import Work
from .table import TableError, Task, collected, read_table

Say = Callable[[str], None]


@dataclass
class Remote:
    urls: Sequence[str]
    there: Sequence[tuple[ComfyUI, dict[str, Any]]]  # those that answer, with the nodes that they know
    patience: float
    rows: workflow.Rows | None = None  # for a table that fills a workflow

    @classmethod
    def of(cls, chosen: Namespace, say: Say) -> Remote:
        """The servers that are asked for, of which one must answer."""
        try:
            urls = list(dict.fromkeys(checked_url(url) for url in chosen.servers.split(",") if url.strip()))
        except ValueError as error:
            raise TableError(f"--servers: {error}") from error
        with ThreadPoolExecutor(max(1, len(urls))) as pool:
            found = list(pool.map(_asked, urls))
        there = [(server, nodes) for server, nodes in found if isinstance(nodes, dict)]
        problems = [str(nodes) for _, nodes in found if not isinstance(nodes, dict)]
        if not there:
            lines = "".join(f"\n- {problem}" for problem in problems)
            raise TableError(f"None of the servers answers; expected ComfyUI at --servers.{lines}")
        for problem in problems:
            say(f"{problem}; it gets rows as soon as it answers.")
        return cls(urls, there, chosen.patience)

    # ---- before any work

    def filled(self, chosen: Namespace, folder: Path) -> list[Task]:
        """The tasks of a table that fills a workflow."""
        server, nodes = self.there[0]
        read = workflow.read_workflow(chosen.workflow, nodes, server.url)
        base = chosen.table.absolute().parent
        self.rows = workflow.Rows(read, base, folder, workflow.defaults_of(chosen.set), chosen.take or "")
        rows = read_table(chosen.table, chosen.encoding, self.rows.columns())
        tasks = collected(chosen.table, rows, self.rows.job)
        self._check_nodes(self.rows.needed)
        return tasks

    def check(self, table: Path, tasks: Sequence[Task]) -> None:
        """Rows of talk and redub: whether servers can make them."""
        from . import plain

        plain.check_tasks(table, tasks)
        self._check_nodes(plain.needed(tasks))

    def check_models(self, tasks: Sequence[Task]) -> None:
        from .plain import check_models

        for server, _ in self.there:
            check_models(server, tasks)

    def _check_nodes(self, needed: set[str]) -> None:
        from .servers import unfit

        for server, nodes in self.there:
            if lacking := sorted(needed - nodes.keys()):
                raise TableError(f"{unfit(server, lacking)} Or leave that server out.")

    # ---- the work

    def entries(self, works: Sequence[Work], folder: Path, say: Say) -> Iterator[Entry]:
        """works: in the order in which they begin"""
        from . import plain
        from .servers import Crew

        with scratch(folder) as place:
            orders = self.rows or plain.PlainRows(place, plain.needed([work.task for work in works]))
            crew = Crew(works, self.urls, orders, place)
            yield from crew.entries(say, self.patience)


def _asked(url: str) -> tuple[ComfyUI, dict[str, Any] | Exception]:
    server = ComfyUI(url)
    try:
        return server, server.nodes()
    except (AwayError, RefusedError) as error:
        return server, error
