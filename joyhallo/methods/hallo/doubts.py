"""Notices about a portrait and about a run: what a user could do better, told from what is known beforehand."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from ...faces.find import Face, tilt
from ...notices import Notice, noticed
from ...sound.origin import CHINESE, ENGLISH
from ...sound.wav2vec2 import Speech
from .config import NetConfig
from .masks import SoftMasks

log = logging.getLogger(__name__)

SMALL = 100  # pixels along the face's longest side, where 512 are generated around it
TILTED = 30.0  # degrees
FAINT = 13  # of 255: a region that is nowhere stronger moves nothing
SMALL_MODEL, SMALL_GUIDANCE = 192, 1.5  # up to which the model that comes with the pack draws well
LARGE = 768  # pixels of a frame; beyond it the weights, trained at 512, repeat features of the face


def of_face(face: Face) -> Iterator[Notice]:
    if face.box.longest < SMALL:
        yield noticed(
            log,
            "small_face",
            "The face is only {width}x{height} pixels, so most of what the video shows of it is made up. Use a picture "
            "where it is larger, ideally 300 pixels.",
            width=round(face.box.width),
            height=round(face.box.height),
        )
    if face.marks is not None and abs(angle := tilt(face.marks)) > TILTED:
        yield noticed(
            log,
            "tilted_face",
            "The face is tilted by {degrees} degrees, but the model was trained on upright ones. Rotate the picture if "
            "the face comes out distorted.",
            degrees=round(abs(angle)),
        )


def of_others(count: int, number: int) -> Iterator[Notice]:
    """The largest of `count` faces was taken without being asked for."""
    if count > 1:
        yield noticed(
            log,
            "several_faces",
            "{count} faces were found, and the largest of them, number {number}, was taken. Click another one to let "
            "it speak.",
            count=count,
            number=number,
        )


def of_unsure(count: int) -> Iterator[Notice]:
    if count:
        yield noticed(
            log,
            "unsure_faces",
            "There may be more faces than were found: {count} more seen, but too small, blurred or covered to be sure. "
            "To let such a face speak, crop the picture to it.",
            count=count,
        )


def of_regions(regions: SoftMasks, names: Iterable[str]) -> Iterator[Notice]:
    for name in names:
        if getattr(regions, name).max() < FAINT:
            yield noticed(
                log,
                "empty_mask",
                "The {region} mask is empty: nothing there will follow the speech.",
                region=name,
            )


def of_run(net: NetConfig, speech: Speech, side: int) -> Iterator[Notice]:
    """side: of the square that is generated"""
    if (net.audio_layers, net.audio_channels) == (NetConfig.audio_layers, NetConfig.audio_channels):
        yield from _of_encoder(speech.origin, *(("Hallo", ENGLISH) if net.regional_audio else ("JoyHallo", CHINESE)))
    if side > LARGE and net.channels == NetConfig.channels:
        yield noticed(
            log,
            "large",
            "The size is {side}, but this model was trained at 512. It takes far longer, and the face may look worse.",
            side=side,
        )


def of_small_model(side: int, guidance: float) -> Iterator[Notice]:
    """For the one that comes with the pack."""
    if side > SMALL_MODEL or guidance > SMALL_GUIDANCE:
        yield noticed(
            log,
            "small_model",
            "demo draws best at a size of 128 with a cfg of 1, not at {side} with {guidance}: the picture will be "
            "soft, or its colours false.",
            side=side,
            guidance=guidance,
        )


def _of_encoder(found: str, model: str, expected: str) -> Iterator[Notice]:
    if found not in ("", expected):
        yield noticed(
            log,
            "wrong_encoder",
            "The speech was encoded with {found}, but {model} was trained with {expected}: the lips will follow it "
            "poorly. Choose {expected} in Load JoyHallo Models.",
            found=found,
            model=model,
            expected=expected,
        )
