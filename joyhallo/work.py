"""Run many jobs in several processes, on this machine (`each`) or on a Ray cluster (`each_on_ray`).

A job that fails, or kills its process, does not stop the others.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from .libraries import brief, library

Job = TypeVar("Job")
Result = TypeVar("Result")

LOCAL = "local"  # starts Ray on this machine
DIED = "its process died, most likely because memory ran out"


def each(
    task: Callable[[Job], Result], jobs: Sequence[Job], workers: int, lost: Callable[[Job, str], Result]
) -> Iterator[Result]:
    """Yield results as they come; 0 workers: in this process. `lost` gives the result of a job whose process died."""
    if workers == 0:
        yield from map(task, jobs)
        return
    waiting = list(jobs)
    while waiting:
        unfinished = yield from _until_one_dies(task, waiting, min(workers, len(waiting)))
        # Jobs are taken in order, so the one that killed its process is among the first: try each of these alone.
        suspects, waiting = unfinished[:workers], unfinished[workers:]
        for job in suspects:
            died = yield from _until_one_dies(task, [job], 1)
            if died:
                yield lost(job, DIED)


def _until_one_dies(
    task: Callable[[Job], Result], jobs: list[Job], workers: int
) -> Iterator[Any]:  # yields results, and returns the jobs that gave none
    unfinished = set()
    with _pool(workers) as pool:
        with _undisturbed():
            futures = {pool.submit(_done, task, job): place for place, job in enumerate(jobs)}
        for future in as_completed(futures):
            try:
                yield future.result()
            except BrokenProcessPool:
                unfinished.add(futures[future])
    return [jobs[place] for place in sorted(unfinished)]


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


# ---- Ctrl-C, which the terminal sends to every process: it ends the job at hand, and no other is begun


class _Interruption:
    working = stopped = False

    def __call__(self, *_: object) -> None:
        self.stopped = True
        if self.working:
            raise KeyboardInterrupt


_interruption = _Interruption()  # of this process


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Processes that start meanwhile are not interrupted before `_begin`, in the middle of an import."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin() -> None:
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, name="joyhallo-parent", daemon=True).start()
    signal.signal(signal.SIGINT, _interruption)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _end_with_parent() -> None:
    """A process that works for one that was killed would wait for its next job for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _done(task: Callable[[Job], Result], job: Job) -> Result:
    if _interruption.stopped:
        raise KeyboardInterrupt
    _interruption.working = True
    try:
        return task(job)
    finally:
        _interruption.working = False


# ---- on a cluster


def each_on_ray(
    task: Callable[[Job], Result],
    jobs: Sequence[Job],
    address: str,
    lost: Callable[[Job, str], Result],
    gpus: float = 0.0,
) -> Iterator[Result]:
    """Like `each`, on a Ray cluster whose machines see videos, models and dataset at the same paths.

    gpus: that each job takes; its process lives on, so that the next one finds what it has loaded.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = library("ray", "Working on a Ray cluster", "or leave out --ray.")
    here = {"env_vars": {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}} if address == LOCAL else {}
    ray.init(address=address, runtime_env=here, log_to_driver=False, include_dashboard=False if here else None)
    try:
        remote = ray.remote(num_cpus=1, num_gpus=gpus, max_calls=0)(task)
        waiting = {remote.remote(job): job for job in jobs}
        while waiting:
            (ready,), _ = ray.wait(list(waiting))
            job = waiting.pop(ready)
            try:
                yield ray.get(ready)
            except ray.exceptions.RayError as error:
                yield lost(job, brief(error))
    finally:
        ray.shutdown()
