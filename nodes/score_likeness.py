from __future__ import annotations

from typing import Any

import numpy as np
from comfy_api.latest import io
from torch import Tensor

from ..joyhallo.faces.find import LICENCE, FaceError, FaceModels
from ..joyhallo.faces.picture import as_picture
from ..joyhallo.measures.resembling import EVERY, LOW, Likeness, mean_and_low
from ..joyhallo.measures.scores import Scores
from . import report
from .inputs import checked
from .scoring import about, name_of, pieces, progress, told
from .sockets import FaceAnalysis, Scored, schema
from .video import Pictures


class ScoreLikeness(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "ScoreLikeness",
            display_name="Score Likeness",
            description="Measures how like the portrait the person in a video stays, by a face recogniser.",
            inputs=[
                io.MultiType.Input(
                    "video",
                    [io.Video, io.Image],
                    tooltip="A video of any length: every fifth frame is looked at, and the largest face in it. Or "
                    "images.",
                ),
                io.Image.Input("portrait", tooltip="One picture of the person. The largest face in it counts."),
                FaceAnalysis.Input(
                    "face_analysis",
                    tooltip="From Load JoyHallo Models, with InsightFace's models chosen as face_models. They are for "
                    "non-commercial research only.",
                ),
            ],
            outputs=[
                io.Float.Output(
                    "mean",
                    display_name="mean",
                    tooltip="The mean likeness, called CSIM in papers: 1 is the same picture, below 0.3 somebody else.",
                ),
                io.Float.Output(
                    "lowest",
                    display_name="lowest",
                    tooltip="The likeness below which one frame of twenty lies.",
                ),
                io.String.Output(
                    "report",
                    display_name="report",
                    tooltip="Both values, and how many frames show no face: connect Preview as Text.",
                ),
                Scored.Output("scores", display_name="scores", tooltip="For Evaluation Report."),
            ],
        )

    @classmethod
    @checked
    def execute(cls, video: Any, portrait: Tensor, face_analysis: FaceModels) -> io.NodeOutput:
        recogniser = face_analysis.detector
        if recogniser is None:
            raise FaceError(
                "Likeness is measured with InsightFace's models, but there are none; choose face_analysis as "
                f"face_models of Load JoyHallo Models. {LICENCE}."
            )
        film, likeness = Pictures.of(video, 25.0), Likeness(recogniser, as_picture(portrait))
        show, done = progress(film.count), 0
        for frames in pieces(film.read(0)):
            likeness.see(frames)
            done += len(frames)
            show(done)
        series = likeness.series
        mean, low = mean_and_low(series)
        lost = int(np.isnan(series).sum())
        notes = (f"{lost} of {len(series)} frames that were looked at show no face.",) if lost else ()
        scores = Scores(film.key(), name_of(video), {"likeness": mean, "likeness_low": low}, notes=notes)
        lines = {
            "Video": about(film, done),
            "Looked at": f"every {EVERY}th frame, {len(series)} in all; the lowest is that of {LOW:.0%}",
        }
        return io.NodeOutput(mean, low, report.shown([report.listed(lines), *told(scores)]), scores)
