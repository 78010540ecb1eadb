from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch
from comfy_api.latest import io

from ..joyhallo.config import FPS, SAMPLE_RATE
from ..joyhallo.faces.track import Track
from ..joyhallo.film.plot import Curve, plot
from ..joyhallo.measures.lip_judges import Told, compared, controls_of
from ..joyhallo.measures.lipsync import COMPARABLE, SPAN
from ..joyhallo.measures.scores import Scores
from ..joyhallo.measures.sync import rotated
from ..joyhallo.measures.table import SHIFTED, SHUFFLED
from . import model_folders, report
from .inputs import checked
from .lip_judge import LipJudge, lip_judge
from .placing import checked_track
from .preview import listed
from .scoring import Speaking, about, heard, name_of, progress, told
from .sockets import FaceTrack, Scored, rate_of_images, schema
from .track_face import tracked
from .video import Pictures

log = logging.getLogger(__name__)

FRAME = 1 / FPS  # seconds
MS = 1000 // FPS  # of a frame


class ScoreLipSync(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "ScoreLipSync",
            display_name="Score Lip Sync",
            description="Measures how well the lips of a video fit a sound, and by how many frames they are apart: of "
            "any video, whatever made it.",
            inputs=[
                io.MultiType.Input(
                    "video",
                    [io.Video, io.Image],
                    tooltip="A video of any length, size and rate: it is read a few frames at a time. Or images.",
                ),
                io.Combo.Input(
                    "judge",
                    options=model_folders.lip_judges(),
                    tooltip="Who measures. lip reader: a small network of this project, which comes with the nodes; "
                    "its numbers are its own. A file: SyncNet, whose Sync-C and Sync-D papers report; put "
                    "syncnet_v2.model into models/joyhallo/metrics.",
                ),
                rate_of_images(),
                io.Audio.Input(
                    "audio",
                    optional=True,
                    tooltip="The speech that the lips should fit. If not connected, the video's own sound.",
                ),
                FaceTrack.Input(
                    "face_track",
                    optional=True,
                    tooltip="From Track Face, run on the same video: whose lips. If not connected, the largest face is "
                    "tracked here, with MediaPipe.",
                ),
            ],
            advanced=("fps",),
            outputs=[
                io.Float.Output(
                    "confidence",
                    display_name="confidence",
                    tooltip="How much better the sound fits at its best place than at usual ones; more is better. Of "
                    "SyncNet this is Sync-C, or LSE-C.",
                ),
                io.Float.Output(
                    "distance",
                    display_name="distance",
                    tooltip="Between lips and sound at the best place; less is better. Of SyncNet this is Sync-D, or "
                    "LSE-D.",
                ),
                io.Int.Output(
                    "offset",
                    display_name="offset",
                    tooltip="Frames, 25 a second, by which the sound comes too early; below 0 too late. For Align "
                    "Sound.",
                ),
                io.Image.Output(
                    "curve",
                    display_name="curve",
                    tooltip="The distance for each place of the sound, and that of a shuffled sound: a valley in the "
                    "middle means lips and sound fit.",
                ),
                io.String.Output(
                    "report",
                    display_name="report",
                    tooltip="All numbers with those of the controls, and whether they mean anything: connect Preview "
                    "as Text.",
                ),
                Scored.Output("scores", display_name="scores", tooltip="For Evaluation Report."),
            ],
        )

    @classmethod
    def validate_inputs(cls, judge: Any = None) -> bool:
        """No name is refused before the file is looked for, which says where it was searched."""
        return True

    @classmethod
    @checked
    def execute(
        cls, video: Any, judge: str, fps: float, audio: Any = None, face_track: Track | None = None
    ) -> io.NodeOutput:
        film, recording, network = Pictures.of(video, fps), heard(video, audio), lip_judge(judge)
        track = tracked(film, every=1).track if face_track is None else checked_track(face_track, film)
        speaking = Speaking.of(film, track)
        watched = network.watch(speaking, progress(len(speaking)))
        samples = recording.samples[: len(speaking) * SAMPLE_RATE // FPS]
        own, others = watched.score(samples), compared(watched, samples, rotated(samples))
        controls = controls_of(others)
        scores = Scores(film.key(), name_of(video), own.values, controls, notes=_notes(own, network))
        lines = {
            "Judge": network.title,
            "Video": about(film, len(track)),
            "Measured": f"{own.windows} windows of 0.2 s; the face is in {len(watched.stretch or ())} frames in a row",
            "Offset": _said(own.offset, any(scores.silent(name) for name in controls[SHIFTED])),
        }
        text = report.shown([report.listed(lines), *told(scores), *report.warnings(recording.notices)])
        picture = torch.from_numpy(_curve(own, others[SHUFFLED]))[None].float() / 255
        return io.NodeOutput(
            own.confidence, own.distance, own.offset, picture, text, scores, ui=listed(recording.notices)
        )


def _said(offset: int, silent: bool) -> str:
    if silent:
        return "not known: the lips do not fit this sound, or do not follow it when it is moved"
    if not offset:
        return "none: the sound fits best where it is"
    frames = f"{abs(offset)} frame{'' if abs(offset) == 1 else 's'} ({abs(offset) * MS} ms)"
    return (
        f"the sound comes {frames} too {'early' if offset > 0 else 'late'}; Align Sound with offset {offset} moves it"
    )


def _notes(own: Told, judge: LipJudge) -> tuple[str, ...]:
    if judge.is_ours or own.windows >= COMPARABLE:
        return ()
    return (f"Sync-C grows with a video's length; of {own.windows} windows it says little, {COMPARABLE} are needed.",)


def _curve(own: Told, shuffled: Told) -> np.ndarray:
    curves = [Curve("this sound", own.curve), Curve("shuffled sound", shuffled.curve)]
    widest = 2 * SPAN + 1
    return plot(
        curves,
        seconds=widest * FRAME,
        start=-(widest / 2) * FRAME,
        title="Distance, if the sound comes early by",
    )
