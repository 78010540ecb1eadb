from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import comfy.model_management
from comfy_api.latest import io
from torch import Tensor

from ..joyhallo.files.checkpoint import Checkpoint
from ..joyhallo.files.contents import WeightsError
from ..joyhallo.libraries import brief
from ..joyhallo.measures.amt import open_amt
from ..joyhallo.measures.judges import JUDGES
from ..joyhallo.measures.scores import Scores
from ..joyhallo.measures.vbench import Background, Flicker, SmoothLinear, Smoothness, Subject, consistency, steadiness
from ..joyhallo.measures.vit import open_clip, open_dino
from . import model_folders, report
from .comfy_adapter import Part
from .inputs import checked
from .model_folders import METRICS_PLACE
from .preview import stop
from .redub_parts import opened_by
from .scoring import about, name_of, pieces, progress, told
from .sockets import Scored, chosen, schema
from .video import Pictures

CHOICES = {"all there are files for": True, "only what needs no files": False}
MEMORY = 1 << 30  # bytes that a network needs beside its weights, for frames of ordinary sizes
STILL = "A still picture has 1 in all of these: compare videos that move as much."


class Watcher(Protocol):
    def see(self, frames: Tensor) -> None: ...

    @property
    def series(self) -> Tensor: ...


@dataclass(frozen=True)
class WithFile:
    """A measure that takes somebody's network."""

    judge: str
    open: Callable[[Path], Checkpoint[Any]]
    watcher: Callable[..., Watcher]


WITH_FILES = {
    "subject": WithFile("dino", open_dino, Subject),
    "background": WithFile("clip", open_clip, Background),
    "smoothness": WithFile("amt", open_amt, Smoothness),
}
WITHOUT: Mapping[str, Callable[[], Watcher]] = {"smooth_linear": SmoothLinear, "flicker": Flicker}
OF_SERIES = {"subject": consistency, "background": consistency}  # all others are steadiness


class ScoreVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "ScoreVideo",
            display_name="Score Video",
            description="Measures how steady a video is: whether the person and the background stay the same, how "
            "smoothly things move, how little it flickers.",
            inputs=[
                io.MultiType.Input(
                    "video",
                    [io.Video, io.Image],
                    tooltip="A video of any length and size: it is read a few frames at a time. Or images.",
                ),
                io.Combo.Input(
                    "measures",
                    options=list(CHOICES),
                    tooltip="all there are files for: VBench's subject consistency with DINO, background consistency "
                    "with CLIP and motion smoothness with AMT-S, as far as their files are in models/joyhallo/metrics; "
                    "the report says what is missing. only what needs no files: flickering, and a simple smoothness; "
                    "takes next to no time.",
                ),
            ],
            outputs=[
                io.String.Output(
                    "report",
                    display_name="report",
                    tooltip="All values, and which files are missing for others: connect Preview as Text.",
                ),
                Scored.Output("scores", display_name="scores", tooltip="For Evaluation Report."),
            ],
        )

    @classmethod
    @checked
    def execute(cls, video: Any, measures: str) -> io.NodeOutput:
        film, watching = Pictures.of(video, 25.0), Watching()
        if chosen(CHOICES, measures, "measures"):
            watching.begin_with_files()
        frames = watching.watch(film)
        values = dict(watching.values())
        scores = Scores(film.key(), name_of(video), values, missing=watching.missing, notes=(STILL,))
        lines = {"Device": report.device(comfy.model_management.get_torch_device()), "Video": about(film, frames)}
        return io.NodeOutput(report.shown([report.listed(lines), *watching.networks, *told(scores)]), scores)


@dataclass
class Watching:
    """Measures of one video; one that fails costs itself alone, and says why."""

    watchers: dict[str, Watcher] = field(default_factory=lambda: {name: made() for name, made in WITHOUT.items()})
    missing: dict[str, str] = field(default_factory=dict)
    networks: list[str] = field(default_factory=list)

    def begin_with_files(self) -> None:
        for name, measure in WITH_FILES.items():
            judge, files = JUDGES[measure.judge], model_folders.judges(measure.judge)
            if not files:
                self.missing[name] = judge.lacking(METRICS_PLACE)
                continue
            try:
                part = opened_by(measure.open)(model_folders.find_judge(files[0], measure.judge))
            except WeightsError as error:
                self.missing[name] = str(error)
                continue
            device = part.patcher.load_device
            self.watchers[name] = measure.watcher(part.made, device=device, ready=_ready(part))
            mark = part.fingerprint[: report.SHORT]
            self.networks.append(f"{judge.title}: {files[0]}, weights {mark}, licence {judge.licence}")

    def watch(self, film: Pictures) -> int:
        """The number of frames."""
        show, done = progress(film.count), 0
        for frames in pieces(film.read(0)):
            for name, watcher in list(self.watchers.items()):
                self._tried(name, watcher.see, frames)
            done += len(frames)
            show(done)
        return done

    def values(self) -> Iterator[tuple[str, float]]:
        for name, watcher in list(self.watchers.items()):
            series = self._tried(name, lambda watcher=watcher: watcher.series)
            if series is not None:
                yield name, OF_SERIES.get(name, steadiness)(series)

    def _tried(self, name: str, ask: Callable[..., Any], *given: Any) -> Any:
        try:
            return ask(*given)
        except ValueError as error:
            self.missing[name] = str(error) or brief(error)
            del self.watchers[name]
            return None


def _ready(part: Part) -> Callable[[Any], Any]:
    def ready(network: Any) -> Any:
        stop()
        comfy.model_management.load_models_gpu([part.patcher], memory_required=MEMORY)
        return network

    return ready
