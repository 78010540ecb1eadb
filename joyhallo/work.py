"""Run many jobs in several processes, on this machine (`each`) or on a Ray cluster (`each_on_ray`).

A job that fails, or kills its process, does not stop the others.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

from .libraries import brief, library

log = logging.getLogger(__name__)

Job = TypeVar("Job")
Result = TypeVar("Result")

LOCAL = "local"  # starts Ray on this machine
DIED = "its process died, most likely because memory ran out"
DEATHS = 3  # of a job's processes on Ray, after which it counts as lost


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
    import torch  # which those who hand out the work do without

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


class ClusterError(RuntimeError):
    """A Ray cluster that cannot work; the message says why, and what to do."""


class _Worker:
    """Lives on in a process of its own, an actor, so that a job finds what the one before it has loaded."""

    def done(self, task: Callable[[Job], Result], job: Job) -> Result:
        return task(job)


def each_on_ray(
    task: Callable[[Job], Result],
    jobs: Sequence[Job],
    address: str,
    lost: Callable[[Job, str], Result],
    gpus: float = 0.0,
    workers: int = 0,
) -> Iterator[Result]:
    """Like `each`, on a Ray cluster whose machines see videos, models and dataset at the same paths.

    gpus: of each worker; workers: how many at most, 0 for as many as have a processor, and cards, each
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = library("ray", "Working on a Ray cluster", "or leave out --ray.")
    _connect(ray, address)
    try:
        room = sum(_room(node["Resources"], gpus) for node in ray.nodes() if node["Alive"])
        if not room:
            raise ClusterError(
                f"No machine of the Ray cluster has a processor and {gpus:g} graphics cards for a worker; expected one "
                "at least. Add a machine, or choose another number for --gpus."
            )
        actor = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=-1, max_task_retries=DEATHS - 1)(_Worker)
        begun = (actor.remote() for _ in range(min(room, workers or room, len(jobs))))
        yield from _handed_out(ray, task, jobs, begun, lost)
    finally:
        ray.shutdown()


def _connect(ray: Any, address: str) -> None:
    here = {"env_vars": {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}} if address == LOCAL else {}
    quietly = {"log_to_driver": False, "logging_level": "error", "include_dashboard": False if here else None}
    try:
        ray.init(address=address, runtime_env=here, **quietly)
    except Exception as error:  # Ray raises bare ones, too
        raise ClusterError(
            f'Ray cannot be reached at "{address}" ({brief(error)}). Begin a cluster with "ray start --head", give its '
            f'address, or "{LOCAL}" to begin one here.'
        ) from error


def _room(resources: Mapping[str, float], gpus: float) -> int:
    """How many workers a machine has place for."""
    cpus, there = resources.get("CPU", 0.0), resources.get("GPU", 0.0)
    return int(min(cpus, there / gpus + 1e-9) if gpus else cpus)


def _handed_out(
    ray: Any,
    task: Callable[[Job], Result],
    jobs: Sequence[Job],
    workers: Iterable[Any],
    lost: Callable[[Job, str], Result],
) -> Iterator[Result]:
    """A worker gets a job once it is there, and one at a time, so that memory does not grow with the jobs.

    Ray begins a dead one anew, on another machine if need be, and gives it its job again, up to a number of times. One
    that finds no more jobs is let go: its place is free for a worker whose machine has left.
    """
    waiting, left = iter(jobs), len(jobs)
    running: dict[Any, tuple[Any, Any]] = {  # each with the job at hand
        worker.__ray_ready__.remote(): (worker, None) for worker in workers
    }
    while left:
        (ready,), _ = ray.wait(list(running))
        worker, job = running.pop(ready)
        result: Any = None
        try:
            result = ray.get(ready)
            for following in islice(waiting, 1):
                running[worker.done.remote(task, following)] = worker, following
        except ray.exceptions.RayError as error:
            if job is not None:
                result = lost(job, _reason(ray, error))
                running[worker.__ray_ready__.remote()] = worker, None  # it may be dead for good
            elif running:
                log.warning("A worker on the Ray cluster could not begin: %s", _told(error))
            else:
                raise ClusterError(f"No worker on the Ray cluster could begin: {_told(error)}") from error
        del worker
        if job is not None:
            left -= 1
            yield result


def _reason(ray: Any, error: Any) -> str:
    if isinstance(error, ray.exceptions.RayActorError):
        return DIED
    return brief(error.cause if isinstance(error, ray.exceptions.RayTaskError) else error)


def _told(error: Exception) -> str:
    """Of a worker's traceback, what went wrong."""
    return str(error).strip().splitlines()[-1][:200]
