"""How a prompt ended, told by what ComfyUI says of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..comfyui.server import PACK, Run

RAN, REFUSED, SAID, STOPPED = "ran", "refused before it ran", "an error in the pack's words", "stopped after a while"
RAW, FOREIGN = "a raw error of the pack", "an error of ComfyUI itself"
FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<function>\S+)\n\s*(?P<code>.*)')
CHECKING = "exception_during"  # how the types of errors begin which ComfyUI did not expect while it looked at inputs


@dataclass(frozen=True)
class Outcome:
    kind: str
    message: str = ""
    cause: str = ""  # of a raw error: type and place


def outcome(run: Run, nodes: Mapping[str, Any]) -> Outcome:
    if run.status == "success":
        return Outcome(RAN)
    if run.status == "invalid":
        return _of_validation(run)
    if run.status == "error":
        return _of_error(run.error, nodes[run.error["node_type"]]["category"])
    return Outcome(STOPPED, run.status)


def _of_validation(run: Run) -> Outcome:
    errors = [error for node in run.error.get("node_errors", {}).values() for error in node["errors"]]
    unexpected = next((error for error in errors if error["type"].startswith(CHECKING)), None)
    if unexpected is None:
        return Outcome(REFUSED, run.message)
    about = unexpected.get("extra_info", {})
    return _told(about.get("exception_type", "?"), unexpected["details"], about.get("traceback") or [])


def _of_error(error: Mapping[str, Any], category: str) -> Outcome:
    return _told(error["exception_type"], error["exception_message"].strip(), error["traceback"])


def _told(kind: str, message: str, traceback: list[str]) -> Outcome:
    """By its innermost line: a sentence is what the pack's own code raises."""
    frames = list(FRAME.finditer("".join(traceback)))
    ours = [frame for frame in frames if PACK in frame["file"]]
    if not ours:
        return Outcome(FOREIGN, message, kind)
    last = frames[-1]
    if last is ours[-1] and last["code"].startswith("raise") and message:
        return Outcome(SAID, message)
    place = ours[-1]
    return Outcome(RAW, message, f"{kind} from {place['file'].rpartition(PACK)[2]}:{place['line']} ({place['code']})")
