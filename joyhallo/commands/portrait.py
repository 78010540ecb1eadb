"""A picture speaks through JoyHallo or Hallo, chunk by chunk. Memory does not grow with length."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..config import FPS
from ..faces.boxes import Picture
from ..faces.find import FaceError, FaceModels
from ..files.journal import Journal
from ..film.marks import read_marks
from ..film.read import Film, Reel
from ..methods import chunks
from ..methods.hallo import doubts
from ..methods.hallo.clip import Clip
from ..methods.hallo.config import REGIONS
from ..methods.hallo.motion import keyframes, weights
from ..methods.hallo.portrait import CHOICES, FRAMINGS, IDENTITIES, Framing, Prepared, Wishes, prepare
from ..methods.hallo.presets import PRESETS
from ..methods.hallo.sampling import Settings
from ..methods.hallo.steadiness import Steadiness
from ..methods.room import frames_need
from ..notices import Notice
from ..sound.audio import Sound
from ..sound.loudness import LOUDNESS, levelled
from ..sound.pauses import gate, pauses
from ..sound.vocals import hear
from ..sound.wav2vec2 import NORMALIZATION, Encoder, Speech, encode
from .engines import PortraitModel, load_portrait_model, memory_of
from .faces import NO_LANDMARKER, known
from .jobs import MAKING, Job, Made, Progress, silent
from .media import BEHIND, depth_of, film, mask_of, picture_of, sound_of
from .places import DEMO_LICENCE, DEMO_MODEL, PlaceError, checked_input
from .unfinished import beside, check_room, discard

STEADINESS = ("overlap", "hold_colours", "fade", "anchor_every")


def make(job: Job, progress: Progress) -> Made:
    """What costs little comes first: whatever is wrong with it is told before networks are loaded."""
    options = job.options
    sound = sound_of(job.inputs["sound"])
    face = _face(picture_of(job.inputs["picture"]), options)
    behind = _behind(options["background"], face, options["square"])
    for region in REGIONS:
        keyframes(options[f"{region}_weight"], 1)
    own = options["model"].is_relative_to(DEMO_MODEL)
    model = load_portrait_model(options["model"], options["vae"], options["audio_encoder"], job.compute)
    speech = _speech(sound, model.encoder, options, progress)
    clip = Clip(
        face,
        speech,
        _settings(options, speech),
        Steadiness(**{name: options[name] for name in STEADINESS}),
        not options["square"],
    )
    journal = _journal(job, clip, model) if job.resuming else None
    _check_room(job, clip, model, journal)
    meter = clip.meter()

    def frames() -> Iterator[Tensor]:
        for chunk in clip.chunks(model.engine, _steps(speech.length, progress), journal):
            yield from clip.placed(chunk, meter, behind)

    found = (*speech.notices, *face.notices, *_doubts(model, clip, own))
    marks = read_marks(options["background"] or job.inputs["picture"])
    done = film(job, frames(), speech.length, Fraction(FPS), sound, marks, silent)
    discard(job.output)
    return Made(
        done.file,
        done.frames,
        done.frames / FPS,
        done.took,
        _facts(model, clip, meter.summary(), DEMO_LICENCE if own else model.method.licence),
        tuple(map(str, found)),
    )


# ---- the picture


def _face(picture: Picture, options: Mapping[str, Any]) -> Prepared:
    masks = {name: options[f"{name}_mask"] for name in ("face", "lip")}
    painted = {name: None if path is None else mask_of(path, f"{name} mask") for name, path in masks.items()}
    wishes = Wishes(
        choice=CHOICES[options["which_face"]],
        face_mask=painted["face"],
        lip_mask=painted["lip"],
        identity=IDENTITIES[options["identity"]],
    )
    framing = Framing(FRAMINGS[options["framing"]], expand=options["face_expand"], lip_expand=options["lip_expand"])
    return prepare(picture, _finders(picture, wishes, options), wishes, framing).at((options["size"],) * 2)


def _finders(picture: Picture, wishes: Wishes, options: Mapping[str, Any]) -> FaceModels:
    """A picture that comes with the small model has a face that is known."""
    task = options["landmarker"]
    if wishes.identity == "neutral" and (faces := known(picture)) is not None:
        return faces
    if wishes.needs_mesh and task is None:
        raise FaceError(f"{NO_LANDMARKER}, or paint --lip-mask and --face-mask.")
    return FaceModels(options["face_models"], task)


def _behind(path: Path | None, face: Prepared, square: bool) -> Reel | None:
    if path is None:
        return None
    if square:
        raise PlaceError("--square yes would hide the --background; leave out one of them.")
    shown, (width, height) = Film(checked_input(path, "background")), face.crop.picture
    found = shown.facts
    if (found.width, found.height) != (width, height):
        raise PlaceError(
            f"The background {path} is {found.width}x{found.height} pixels, but the picture is {width}x{height}; give "
            "a film that was made of the same picture."
        )
    return Reel(shown.frames(FPS))


# ---- the speech


def _speech(sound: Sound, encoder: Encoder, options: Mapping[str, Any], progress: Progress) -> Speech:
    waveform, rate = sound
    normalize = NORMALIZATION[options["normalize"]]
    if normalize is not None:
        encoder = replace(encoder, normalize=normalize)
    mode = options["separate_vocals"]
    frames = math.ceil(waveform.shape[-1] / rate * FPS)

    def separating(done: float) -> None:
        progress("Separating the voice", math.floor(done * frames), frames)

    recording = hear(waveform, rate, mode, None if mode == "off" else options["separator"], separating)
    return encode(encoder, levelled(recording) if LOUDNESS[options["loudness"]] else recording)


# ---- the frames


def _settings(options: Mapping[str, Any], speech: Speech) -> Settings:
    return PRESETS[options["preset"]].settings(
        options["steps"],
        guidance=options["cfg"],
        seed=options["seed"],
        weights=_weights(options, speech.levels[: speech.length]),
        overlap=options["overlap"],
    )


def _weights(options: Mapping[str, Any], levels: Tensor) -> Sequence[float] | Tensor:
    """Three numbers, or a row of three for each frame."""
    pose, expression, lip = (keyframes(options[f"{region}_weight"], len(levels)) for region in REGIONS)
    if options["rest_in_pauses"]:
        opening = gate(pauses(levels, options["sensitivity"]), options["attack"], options["release"])
        return weights(len(levels), pose, expression, lip, opening=opening)
    if all(bool((curve == curve[0]).all()) for curve in (pose, expression, lip)):
        return [curve[0].item() for curve in (pose, expression, lip)]
    return weights(len(levels), pose, expression, lip)


def _steps(frames: int, progress: Progress) -> Callable[[chunks.Progress], None]:
    """Each step counts as a part of its frames, as a chunk may take minutes."""
    return lambda step: progress(MAKING, math.floor(frames * step.done / step.total), frames)


# ---- beforehand, and after a kill


def _journal(job: Job, clip: Clip, model: PortraitModel) -> Journal:
    arithmetic = torch.__version__, torch.get_num_threads()  # sums are divided among threads
    channels = model.engine.config.net.latent_channels
    return clip.journal(beside(job.output), channels, {**model.depends, "torch": arithmetic})


def _check_room(job: Job, clip: Clip, model: PortraitModel, journal: Journal | None) -> None:
    """Before hours are spent on what then runs out of memory or disk."""
    engine = model.engine
    clip.memory(engine.config.net, engine.dtype).check(engine.device, clip.held(1 + BEHIND), memory_of)
    depth = depth_of(job)
    frames = frames_need(job.output.parent, clip.speech.length, clip.size, clip.moving, depth) if depth else None
    check_room(journal, len(clip.starts), *([frames] if frames else []))


# ---- what is told


def _doubts(model: PortraitModel, clip: Clip, own: bool) -> Iterator[Notice]:
    """own: whether it is the model that comes with the pack"""
    side = clip.face.crop.size[0]
    yield from doubts.of_run(model.engine.config.net, clip.speech, side)
    if own:
        yield from doubts.of_small_model(side, clip.settings.guidance)


def _facts(model: PortraitModel, clip: Clip, drift: str, licence: str) -> dict[str, Any]:
    face, settings = clip.face, clip.settings
    width, height = clip.size
    found = "no search" if face.found is None else f"face {face.found.number} of {len(face.found.boxes)}"
    return {
        "model": f"{model.method.name}, {face.crop.size[0]} pixels, {settings.steps} x {settings.solver}",
        "licence": licence,
        "face": f"{found}, window {face.crop.box}",
        "size": [width, height],
        "seed": settings.seed,
        "drift": drift,
    }
