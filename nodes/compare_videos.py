from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from comfy_api.latest import io
from numpy.typing import NDArray
from torch import Tensor

from ..joyhallo.faces.find import FaceError
from ..joyhallo.film.write import VideoError
from ..joyhallo.libraries import LibraryError
from ..joyhallo.measures.curves import correlation
from ..joyhallo.measures.landmarks import keypoint_distance, landmark_distance, opening
from ..joyhallo.measures.scores import Scores
from ..joyhallo.measures.similarity import WHITE, Similarity, together
from . import report
from .inputs import checked
from .scoring import about, name_of, pieces, progress, rounded, told
from .sockets import Scored, schema
from .track_face import tracked
from .video import Pictures

EQUAL = 100.0  # dB that pictures have which are the same
CONVENTION = "gaussian"  # of SSIM


class CompareVideos(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "CompareVideos",
            display_name="Compare Videos",
            description="Measures how near a video is to the real one of the same: its pixels, its structures, and the "
            "shape of the mouth.",
            inputs=[
                io.MultiType.Input(
                    "video", [io.Video, io.Image], tooltip="The video that was made, of any length. Or images."
                ),
                io.MultiType.Input(
                    "truth",
                    [io.Video, io.Image],
                    tooltip="The real video of the same, at the same size and rate, from the same frame on. Frames "
                    "that only one of the two has are left out.",
                ),
            ],
            outputs=[
                io.Float.Output(
                    "psnr",
                    display_name="psnr",
                    tooltip="How near pixels are, in dB; more is better. 100 where all are equal.",
                ),
                io.Float.Output(
                    "ssim",
                    display_name="ssim",
                    tooltip="How alike structures are, 1 at best; with the Gaussian window, as in the original paper.",
                ),
                io.Float.Output(
                    "lmd",
                    display_name="lmd",
                    tooltip="How far points of the mouth are off, over the distance of the eyes; less is better. Takes "
                    "MediaPipe's face landmarker; without it, or without a face, it is no number (nan).",
                ),
                io.String.Output(
                    "report",
                    display_name="report",
                    tooltip="All values, and why some are missing: connect Preview as Text.",
                ),
                Scored.Output("scores", display_name="scores", tooltip="For Evaluation Report."),
            ],
        )

    @classmethod
    @checked
    def execute(cls, video: Any, truth: Any) -> io.NodeOutput:
        film, real = _both(video, truth)
        pixels = Similarity([CONVENTION])
        show, done = progress(min(film.count, real.count)), 0
        for some, others in together(pieces(film.read(0)), pieces(real.read(0))):
            pixels.see(some, others)
            done += len(some)
            show(done)
        apart = float(pixels.errors().mean())
        values = {"psnr": _psnr(apart), "ssim": float(pixels.ssim(CONVENTION).mean())}
        shapes, missing = _shapes(film, real)
        notes = () if film.count == real.count else (f"Compared are the {done} frames that both have.",)
        scores = Scores(film.key(), name_of(video), values | shapes, missing=missing, notes=notes)
        lines = {"Video": about(film, done), "SSIM": "Gaussian window of 11 pixels, on whole windows"}
        text = report.shown([report.listed(lines), *told(scores)])
        lmd = scores.values.get("lmd", math.nan)
        return io.NodeOutput(values["psnr"], values["ssim"], lmd, text, scores)


def _both(video: Any, truth: Any) -> tuple[Pictures, Pictures]:
    """Both at one rate, which images take from the other."""
    film, real = (Pictures.of(one, 25.0) for one in (video, truth))
    if isinstance(video, Tensor):
        film = replace(film, rate=real.rate)
    if isinstance(truth, Tensor):
        real = replace(real, rate=film.rate)
    if film.size != real.size:
        raise VideoError(
            f"The video is {report.sized(film.size)} pixels, its truth {report.sized(real.size)}; bring both to one "
            "size first."
        )
    if film.rate != real.rate:
        raise VideoError(
            f"The video has {rounded(film.rate)} frames a second, its truth {rounded(real.rate)}; bring both to one "
            "rate first, so that frames belong together."
        )
    return film, real


def _psnr(apart: float) -> float:
    """apart: the mean squared difference of all pixels"""
    return min(EQUAL, 10 * math.log10(WHITE**2 / apart)) if apart else EQUAL


def _shapes(film: Pictures, truth: Pictures) -> tuple[dict[str, float], dict[str, str]]:
    """What the meshes of both faces tell, or why they tell nothing."""
    try:
        meshes, real = (_meshes(one) for one in (film, truth))
    except (FaceError, LibraryError) as error:
        return {}, dict.fromkeys(("lmd", "akd", "opening_true"), str(error))
    count = min(len(meshes), len(real))
    mouths = np.stack([opening(meshes[:count]), opening(real[:count])])
    known = mouths[:, np.isfinite(mouths).all(0)]
    found = {"lmd": landmark_distance(meshes, real), "akd": keypoint_distance(meshes, real)}
    values = {name: float(np.nanmean(curve)) for name, curve in found.items() if np.isfinite(curve).any()}
    if known.shape[1] > 1:
        values["opening_true"] = correlation(*known)
    absent = [name for name in ("lmd", "akd", "opening_true") if name not in values]
    return values, dict.fromkeys(absent, "the face is in no frame of both videos")


def _meshes(film: Pictures) -> NDArray[np.float32]:
    """(frames, points, 2): NaN where the face was not seen."""
    track = tracked(film, every=1, whole=True).track
    return np.where((track.scores > 0)[:, None, None], track.points, np.nan)
