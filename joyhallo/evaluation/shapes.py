"""What the shape of the face tells: mouth and sound, lips in silence, and how near all is to a truth."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from ..config import FPS, SAMPLE_RATE
from ..faces.boxes import Points
from ..measures.curves import Curve, correlation, partial
from ..measures.following import between, followed
from ..measures.landmarks import (
    brow_dynamics,
    head_motion_estimate,
    keypoint_distance,
    landmark_distance,
    lip_dynamics,
    lip_sync_gap,
    opening,
    rms,
    silent_lips,
)
from ..measures.sync import delayed
from ..measures.table import MEASURES, MESHES, SHIFT, SHIFTED, SHUFFLED
from ..sound.audio import levels
from ..sound.pauses import pauses
from .panel import Asked, Findings, Panel
from .showing import SAMPLES, Showing

TO_TRUTH = tuple(MEASURES[name] for name in ("lmd", "akd", "opening_true"))
TO_SOURCE = (MEASURES["leak"],)
SEEN = (MEASURES["face_seen"],)
UNFOLLOWED = "it takes three seconds that mostly show the face"


def _with_sound(showing: Showing, asked: Asked, names: frozenset[str]) -> Findings:
    meshes, found = showing.meshes, Findings()
    own, other = (sound[: len(meshes) * SAMPLES] for sound in (showing.recording.samples, showing.shuffled))
    mouth, size = opening(meshes), showing.track.size
    silent = np.asarray(pauses(levels(own, len(meshes))).numpy() > 0)

    def by_loudness(samples: Tensor) -> Mapping[str, float]:
        told = followed(mouth, levels(samples, len(meshes)).numpy(), FPS)
        gap = lip_sync_gap(mouth, rms(samples.numpy(), SAMPLE_RATE, len(meshes), FPS), ~silent)
        if told is None:
            found.missing |= dict.fromkeys(("opening_follows", "opening_lag"), UNFOLLOWED)
            return {"loudness_gap": gap}
        return {"loudness_gap": gap, "opening_follows": told.correlation, "opening_lag": told.milliseconds}

    found.values |= by_loudness(own)
    found.control(SHUFFLED, by_loudness(other))
    found.control(SHIFTED, by_loudness(delayed(own, SHIFT)))
    found.values["silent_lips"] = silent_lips(meshes, silent, size, FPS)
    found.curves["Mouth's opening along the clip, over the distance of the eyes"] = mouth.tolist()
    return found


def _without_sound(showing: Showing, asked: Asked, names: frozenset[str]) -> Findings:
    meshes = showing.meshes
    return Findings({
        "lip_dynamics": lip_dynamics(meshes, showing.track.size),
        "brow_dynamics": brow_dynamics(meshes),
        "head_motion": head_motion_estimate(meshes),
    })  # fmt: skip


def _seen(showing: Showing, asked: Asked, names: frozenset[str]) -> Findings:
    return Findings({"face_seen": float((showing.track.scores > 0).mean())})


# ---- beside other films


def _to_truth(showing: Showing, asked: Asked, names: frozenset[str]) -> Findings:
    own, true = showing.meshes, showing.truth.meshes
    mouth, wanted = _openings(own, true)
    values = {"lmd": landmark_distance(own, true), "akd": keypoint_distance(own, true)}
    return Findings(
        {name: _mean(curve) for name, curve in values.items()} | {"opening_true": correlation(mouth, wanted)}
    )


def _to_source(showing: Showing, asked: Asked, names: frozenset[str]) -> Findings:
    """How much of the source's mouth is in the redub's that its own sound, however late, does not explain."""
    mouth, old = _openings(showing.meshes, showing.source.meshes)
    loudness = levels(showing.recording.samples[: len(mouth) * SAMPLES], len(mouth)).numpy()
    around = np.stack([np.roll(loudness, lag) for lag in range(-2, 5)], axis=1)
    return Findings({"leak": partial(mouth, old, around)})


def _openings(one: Points, other: Points) -> tuple[Curve, Curve]:
    """Of both for as long as both last."""
    count = min(len(one), len(other))
    return between(opening(one[:count])), between(opening(other[:count]))


def _mean(curve: Curve) -> float:
    return float(np.nanmean(curve)) if np.isfinite(curve).any() else float("nan")


HEARD = tuple(measure for measure in MESHES if "sound" in measure.needs)
QUIET = tuple(measure for measure in MESHES if measure.needs == ("mesh",))
PANELS = (
    Panel("face seen", SEEN, _seen),
    Panel("mouth and sound", HEARD, _with_sound),
    Panel("lips and brows", QUIET, _without_sound),
    Panel("shape and truth", TO_TRUTH, _to_truth),
    Panel("shape and source", TO_SOURCE, _to_source),
)
