"""Runs the blocks in a process of their own, which is ended when it hangs, and begun anew when it died."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .report import Report

GRACE = 45.0  # seconds beyond its own after which a block is taken to hang
STARTING = 120.0  # seconds in which a worker must have imported all and reached its device
LOOK = 0.1
TAIL = 2000  # characters of what a worker said before it died
MOST_STARTS = 12

Line = dict[str, Any]


@dataclass
class Watch:
    """What the worker does, and until when it may."""

    block: str = ""
    part: str = ""
    began: float = 0.0
    until: float = 0.0

    def hear(self, line: Line, seconds: dict[str, float], grace: float) -> None:
        now = time.monotonic()
        self.block, self.part = line["block"], line.get("part", "all")
        self.began = now
        self.until = now + (line["may_take"] if "may_take" in line else seconds.get(self.block, 0.0)) + grace


def supervise(
    report: Report, options: dict[str, Any], deadline: float, say: Callable[[str], None], grace: float = GRACE
) -> None:
    """deadline: by time.time()"""
    for _ in range(MOST_STARTS):
        if time.time() >= deadline or not _once(report, options, deadline, say, grace):
            break
    report.write()


def _once(report: Report, options: dict[str, Any], deadline: float, say: Callable[[str], None], grace: float) -> bool:
    """One worker, to its end. Whether another one is needed."""
    with tempfile.TemporaryDirectory(prefix="joyhallo_gpu_") as place:
        folder = Path(place)
        job = {
            **options,
            "blocks": [[block.name, block.parts, block.seconds] for block in report.blocks],
            "done": report.done,
            "deadline": deadline,
        }
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        lines = folder / "lines.jsonl"
        lines.touch()
        with (folder / "said.txt").open("wb") as said:
            process = _started(folder, said)
            watch = Watch(began=time.monotonic(), until=time.monotonic() + STARTING)
            try:
                why = _followed(process, lines, report, watch, deadline, say, grace)
            finally:
                _ended(process)
        if why is None:
            return False
        return _told(report, watch, why, (folder / "said.txt").read_text("utf-8", "replace")[-TAIL:], say)


def _started(folder: Path, said: Any) -> subprocess.Popen:
    command = [sys.executable, "-m", "benchmarks.gpu.worker", str(folder)]
    own: dict[str, Any] = {"start_new_session": True} if os.name == "posix" else {}
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, **own)


def _ended(process: subprocess.Popen) -> None:
    """With all that it started, such as compilers."""
    if os.name == "posix":
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            process.kill()
    else:
        process.kill()
    process.wait()


def _followed(
    process: subprocess.Popen,
    lines: Path,
    report: Report,
    watch: Watch,
    deadline: float,
    say: Callable[[str], None],
    grace: float,
) -> str | None:
    """Why it has to be begun anew; None if it is through, or time is."""
    seconds = {block.name: block.seconds for block in report.blocks}
    with lines.open(encoding="utf-8") as coming:
        while True:
            ended = process.poll()  # before reading, so that nothing said at last is missed
            for line in _whole(coming):
                report.hear(line)
                watch.hear(line, seconds, grace)
                if "found" in line:
                    say(_short(line))
            if ended is not None:
                return None if ended == 0 else f"its process ended with {ended}"
            if time.time() > deadline + 1:
                if watch.part != "all":
                    report.hear(_line(watch, {"reason": "time ran out while it was measured"}))
                return None
            if time.monotonic() > watch.until:
                return f"it hung: stopped after {time.monotonic() - watch.began:.0f} s"
            time.sleep(LOOK)


def _whole(coming: Any) -> Iterator[Line]:
    """Lines that are complete; the start of another is read again."""
    while True:
        place = coming.tell()
        text = coming.readline()
        if not text.endswith("\n"):
            coming.seek(place)
            return
        yield json.loads(text)


def _told(report: Report, watch: Watch, why: str, said: str, say: Callable[[str], None]) -> bool:
    """Put down what died. Whether it is worth going on: not if no block was even reached."""
    if not watch.block:
        report.about["failed"] = f"The worker never began: {why}. {said}"
        return False
    line = _line(watch, {"failed": why, "said": said})
    if watch.part == "all":
        line["parts"] = ["all"]
    report.hear(line)
    say(_short(line))
    return True


def _line(watch: Watch, found: dict[str, Any]) -> Line:
    return {"block": watch.block, "part": watch.part, "found": found, "seconds": time.monotonic() - watch.began}


def _short(line: Line) -> str:
    found = line["found"]
    told = next((f"{word}: {found[word]}" for word in ("failed", "reason") if word in found), None)
    if told is None:
        told = ", ".join(f"{name} {_brief(value)}" for name, value in found.items() if name != "samples")
    return f"{line['block']}/{line['part']} ({line['seconds']:.1f} s)  {told.splitlines()[0] if told else ''}"[:240]


def _brief(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
