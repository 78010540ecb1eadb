"""The steps that prepare one video. A step is repeated only if something it depends on has changed."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..config import FPS
from ..faces.boxes import Box, Picture, Points, Size, joint
from ..faces.crops import Crop, crop_face, cut, in_crop
from ..faces.find import OVERLAP, FaceError, Limits, check_face, face_of, turn
from ..faces.regions import Mask, drawn, face_rectangle, lip_rectangle, resized
from ..faces.stretch import Stretch, follow
from ..files.digests import sha256
from ..files.space import MARGIN, RoomError, amount, free
from ..film.read import Film, UnreadableError
from ..libraries import brief
from ..methods.hallo import likeness
from ..methods.hallo.config import NetConfig
from ..methods.hallo.masks import SoftMasks, soft_masks
from ..sound import vocals
from ..sound import wav2vec2 as speech
from ..sound.audio import SILENCE, Sound
from ..sound.loudness import loudness
from . import models as loaded
from .dataset import (
    CLIPS,
    MASKS,
    NAMES,
    SAMPLES,
    Clip,
    Record,
    read_record,
    split_of,
    stored,
    write_film,
    write_masks,
    write_record,
    write_sound,
    write_tensors,
    write_text,
)
from .models import Models

log = logging.getLogger(__name__)

VERSION = 2  # of what the steps make: to be raised when the same video gives other files
SEEN = "seen.json"  # the source's digest, so that a file that did not change is not read again
SHORTEST = 23  # frames that training takes at least: 16, the 2 before them, and what is heard around them
LOOKED_AT = 8  # frames that tell whose face it is
AT_ONCE = 8  # frames

Identity = Literal["recognised", "colours", "neutral"]
Told = dict[str, Any]


@dataclass(frozen=True)
class Preparation:
    """Settings of the preparation. The defaults are those of the published weights, as far as known."""

    size: int = 512  # pixels of each side
    expand: float = 1.0  # of the face's outline, to the rectangle that stands for it
    lip_expand: float = 1.0
    every: int = 2  # frames; in those between, the face is where its neighbours say
    most_missed: int = 3  # looks in a row that may find no face
    shortest: int = SHORTEST
    turned: float = Limits.turned  # see faces.Limits; of all but the worst twentieth of the frames
    identity: Identity = "recognised"
    vocals: str = "off"  # one of vocals.MODES
    validation: float = 0.05  # share of the speakers


@dataclass(frozen=True)
class Job:
    root: Path  # of the dataset
    video: Path
    source: str  # what the video is called in the manifest
    id: str
    speaker: str
    settings: Preparation
    models: Models
    digests: Mapping[str, str]  # of the models

    @cached_property
    def key(self) -> str:
        """A digest that is the same for all jobs of a run, in every shard."""
        return digest(asdict(self.settings), dict(self.digests))


class Unfit(ValueError):
    """A readable video is not usable for training; the message says why."""


def prepare_clip(job: Job) -> Record:
    """Prepare a clip and return its record, whether it succeeds or fails."""
    return recorded(job.root, lambda: _prepared(job), partial(failed, job))


def _prepared(job: Job) -> Record:
    return carry_out(job.root, begun(job), STEPS, _keys(job), _UnderWay(job))


def begun(job: Job) -> Record:
    split = split_of(job.speaker, job.settings.validation)
    stopped = "its preparation was stopped"
    return Record(
        job.id, job.source, "failed", stopped, split, job.speaker, size=job.settings.size, keys={"run": job.key}
    )


def failed(job: Job, reason: str) -> Record:
    """A record of the failure, with the files that exist, from which another run continues."""
    now, before = replace(begun(job), reason=reason), read_record(job.root, job.id)
    if before is None:
        return now
    return replace(before, status="failed", reason=reason, split=now.split, keys={**before.keys, **now.keys})


# ---- steps of any kind


@dataclass(frozen=True)
class Step:
    name: str
    files: Sequence[str]  # by the names of dataset.NAMES
    do: Callable[[Any, Record], Told]  # what is under way, and the record so far -> what is told of it


def recorded(root: Path, make: Callable[[], Record], failed: Callable[[str], Record]) -> Record:
    """Make a record, or the record of the failure, and write it to disk."""
    try:
        record = make()
    except Exception as error:  # files and libraries fail in every way there is
        log.debug("a clip failed", exc_info=True)
        record = failed(_why(error))
    try:
        write_record(root, record)
    except OSError as error:
        record = failed(f"nothing can be written ({brief(error)})")
    return record


def _why(error: Exception) -> str:
    if isinstance(error, UnreadableError):
        return error.reason
    return str(error) if isinstance(error, RoomError) else brief(error)


def carry_out(root: Path, record: Record, steps: Sequence[Step], keys: Mapping[str, str], under_way: Any) -> Record:
    """Do the steps that have a key, in order, except those already done under the same key."""
    before = read_record(root, record.id)
    for step in steps:
        if step.name not in keys:
            continue
        key = keys[step.name]
        if before is not None and before.keys.get(step.name) == key and _whole(root, before, step):
            record = _with(record, step, key, before.about[step.name], before.files)
            continue
        try:
            if before is not None and before.keys.get("unfit") == key:
                raise Unfit(before.reason)
            _check_room(root)
            told = step.do(under_way, record)
        except Unfit as error:
            return replace(record, status="skipped", reason=str(error), keys={**record.keys, "unfit": key})
        record = _with(record, step, key, told, stored(root, record.id, step.files))
        write_record(root, record)
    return replace(record, status="ok", reason="")


def _check_room(root: Path) -> None:
    if (there := free(root)) < MARGIN:
        raise RoomError(
            f"the disk of {root} has {amount(there)} left; make room, and run it again to continue from here"
        )


def _with(record: Record, step: Step, key: str, told: Told, files: Mapping[str, Any]) -> Record:
    return replace(
        record,
        length=told.get("length", record.length),
        keys={**record.keys, step.name: key},
        about={**record.about, step.name: told},
        files={**record.files, **{name: files[name] for name in step.files}},
    )


def _whole(root: Path, before: Record, step: Step) -> bool:
    files = [before.files.get(name) for name in step.files]
    return step.name in before.about and all(
        file is not None and (root / file.path).is_file() and (root / file.path).stat().st_size == file.size
        for file in files
    )


def digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


# ---- keys


def _keys(job: Job) -> dict[str, str]:
    """For each requested step: a digest of everything its files depend on."""
    settings, digests = job.settings, {**job.digests}
    finders = digests.get("finders", "")
    shapes = (settings.size, settings.expand, settings.lip_expand, settings.every, settings.most_missed)
    limits = (settings.shortest, settings.turned, finders or digests.get("landmarker"))
    pictures = digest(VERSION, _digest_of_source(job), *shapes, *limits)
    sound = digest(pictures, settings.vocals, digests.get("separator"))
    known = finders or digests.get("face_models")
    keys = {
        "pictures": pictures,
        "sound": sound,
        "identity": digest(pictures, settings.identity, known if settings.identity == "recognised" else None),
    }
    if "encoder" in digests:
        keys["speech"] = digest(sound, digests["encoder"])
    if "codec" in digests:
        keys["latents"] = digest(pictures, digests["codec"])
    return keys


def _digest_of_source(job: Job) -> str:
    facts, path = job.video.stat(), job.root / CLIPS / job.id / SEEN
    seen: dict[str, Any] = {"size": facts.st_size, "mtime": facts.st_mtime_ns}
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        before = {}
    if all(before.get(name) == value for name, value in seen.items()) and "sha256" in before:
        return before["sha256"]
    seen["sha256"] = sha256(job.video)
    write_text(path, json.dumps(seen))
    return seen["sha256"]


# ---- the steps of a video


class _UnderWay:
    """Intermediate results that several steps share."""

    def __init__(self, job: Job):
        self.job, self.settings, self.models = job, job.settings, job.models
        self.folder = job.root / CLIPS / job.id
        self.film = Film(job.video, threads=1)  # there is a process for each video

    @cached_property
    def sound(self) -> Sound:
        found = self.film.sound()
        if found is None:
            raise Unfit("it has no sound")
        return found

    def path(self, name: str) -> Path:
        return self.folder / NAMES[name]

    def pictures(self, start: int, stop: int) -> Iterator[Picture]:
        return islice(self.film.pictures(FPS), start, stop)


def _pictures(clip: _UnderWay, _: Record) -> Told:
    heard = int(clip.sound[0].shape[1] / clip.sound[1] * FPS + 1e-6)  # whole frames
    landmarker = loaded.finders(clip.models).landmarker
    if landmarker is None:
        raise ValueError("there is no face landmarker: give --landmarker, or --finders")
    sizes: set[Size] = set()
    seen = _noting_sizes(clip.film.pictures(FPS), sizes)
    stretch = follow(seen, landmarker, clip.settings.every, clip.settings.most_missed)
    if stretch is None:
        raise Unfit("no face was found")
    if len(sizes) > 1:
        raise Unfit(f"its pictures change their size: {', '.join(f'{w}x{h}' for w, h in sorted(sizes))}")
    length = min(len(stretch), heard - stretch.start)
    if length < clip.settings.shortest:
        raise Unfit(f"{max(0, length)} frames show a face and have sound; it takes at least {clip.settings.shortest}")
    stretch = replace(stretch, meshes=stretch.meshes[:length])
    (size,) = sizes
    turned = _checked(stretch, size, clip.settings)
    crop = crop_face(size, joint(stretch.boxes), (clip.settings.size, clip.settings.size))
    meshes = (in_crop(mesh, crop) * (clip.settings.size / crop.seen[0]) for mesh in stretch.meshes)
    write_masks(clip.folder, *joint_masks(meshes, crop.size, clip.settings))
    write_film(clip.path("video"), _batches(clip.pictures(stretch.start, stretch.start + length), crop))
    window, boxes = crop.box, stretch.boxes
    share = float(np.median([box.longest for box in boxes])) / min(crop.seen)
    return {
        "length": length,
        "range": [stretch.start, stretch.start + length],  # frames of the source at 25 fps
        "source_size": list(size),
        "crop": [window.left, window.top, window.right, window.bottom],  # of the source
        "face_share": round(share, 4),
        "turned": round(turned, 4),
        "looks": stretch.looks,
        "missed": stretch.missed,
        "broken": clip.film.skipped,  # packets of the source that could not be decoded
        "faces": [[at, *_rounded(boxes[at])] for at in _spread(length, LOOKED_AT)],
    }


def _noting_sizes(pictures: Iterable[Picture], sizes: set[Size]) -> Iterator[Picture]:
    for picture in pictures:
        sizes.add((picture.shape[1], picture.shape[0]))
        yield picture


def _checked(stretch: Stretch, size: Size, settings: Preparation) -> float:
    """The largest turn of the face; raises Unfit if it turns away, or is small or cut off."""
    faces = [face_of(mesh) for mesh in stretch.meshes]
    turned = float(np.quantile([turn(face.marks) for face in faces if face.marks is not None], 0.95))
    if turned > settings.turned:
        raise Unfit(f"the face turns away: its nose lies {turned:.2f} eye distances off the middle of the eyes")
    middle = sorted(faces, key=lambda face: face.box.longest)[len(faces) // 2]
    try:
        check_face(replace(middle, marks=None), size, Limits())
    except FaceError as error:
        raise Unfit(_as_clause(error)) from error
    return turned


def _as_clause(error: FaceError) -> str:
    words = str(error).partition(";")[0]
    return words[:1].lower() + words[1:]


def joint_masks(meshes: Iterable[Points], size: Size, settings: Preparation) -> tuple[Mask, SoftMasks]:
    """Masks of face and lips over all frames: the union of the frames' rectangles."""
    meshes = list(meshes)
    face = drawn(joint([face_rectangle(mesh, size, settings.expand) for mesh in meshes]), size)
    lips = drawn(joint([lip_rectangle(mesh, size, settings.lip_expand) for mesh in meshes]), size)
    if face.all():
        raise Unfit("the face fills the frame, so that nothing around it is visible")
    if not face.any() or not lips.any():
        raise Unfit("the face or its lips are less than a pixel")
    return face, soft_masks(face, lips)


def _batches(pictures: Iterable[Picture], crop: Crop) -> Iterator[Tensor]:
    """(n, 3, size, size) in 0..1"""
    seen = (torch.from_numpy(resized(cut(picture, crop), crop.size)) for picture in pictures)
    while batch := list(islice(seen, AT_ONCE)):
        yield torch.stack(batch).permute(0, 3, 1, 2).float().div(255)


def _rounded(box: Box) -> list[float]:
    return [round(float(side), 1) for side in (box.left, box.top, box.right, box.bottom)]


def _spread(length: int, count: int) -> list[int]:
    """Up to `count` frames, evenly spread."""
    return sorted({round(at) for at in np.linspace(0, length - 1, count)})


def _sound(clip: _UnderWay, record: Record) -> Told:
    waveform, rate = clip.sound
    recording = vocals.hear(waveform, rate, clip.settings.vocals, loaded.separator(clip.models))
    start, stop = (place * SAMPLES for place in record.about["pictures"]["range"])
    samples = recording.samples[start:stop]
    if samples.abs().amax() < SILENCE:
        raise Unfit("its sound is silent")
    write_sound(clip.path("sound"), torch.nn.functional.pad(samples, (0, stop - start - len(samples))))
    return {"loudness": round(loudness(samples), 2), "notes": [str(notice) for notice in recording.notices]}


def _identity(clip: _UnderWay, record: Record) -> Told:
    kind, told = clip.settings.identity, record.about["pictures"]
    if kind == "neutral":
        found = [torch.zeros(NetConfig.face_dim)]
    else:
        places = {told["range"][0] + at: Box(*box) for at, *box in told["faces"]}
        seen = enumerate(clip.pictures(0, max(places) + 1))
        looked = [_whose(clip, picture, places[at]) for at, picture in seen if at in places]
        found = [identity for identity in looked if identity is not None]
    if not found:
        raise Unfit("its face was not recognised in any frame; --identity neutral does without")
    identity = torch.stack(found).median(0).values
    if kind == "recognised":  # of many, in the middle; as long as one is
        norm = torch.stack([each.norm() for each in found]).median()
        identity = identity * (norm / identity.norm().clamp(min=1e-6))
    write_tensors(clip.path("identity"), identity=identity)
    return {"kind": kind, "frames": len(found), "norm": round(identity.norm().item(), 4)}


def _whose(clip: _UnderWay, picture: Picture, box: Box) -> Tensor | None:
    if clip.settings.identity == "colours":
        return likeness.by_colours(picture, box)
    detector = loaded.finders(clip.models).detector
    if detector is None:
        raise ValueError("no face can be recognised: give --face-models, or --identity neutral, which does without")
    face = max(detector.faces(picture), key=lambda face: face.box.overlap(box), default=None)
    if face is None or face.identity is None or face.box.overlap(box) < OVERLAP:
        return None
    return torch.from_numpy(face.identity)


def write_speech(clip: Any, record: Record) -> Told:
    recording = Clip(clip.job.root, record).recording
    encoder = loaded.encoder(clip.models)
    features = speech.encode(encoder, recording, multiple=1).features(0, record.length)
    write_tensors(clip.path("speech"), features=features)
    return {"encoder": encoder.name, "layers": features.shape[1], "width": features.shape[2]}


def write_latents(clip: Any, record: Record) -> Told:
    """Write the latents of all frames in half precision, which is finer than the codec's own rounding."""
    codec, frames = loaded.codec(clip.models), Clip(clip.job.root, record).frames
    batches = [range(at, min(at + AT_ONCE, record.length)) for at in range(0, record.length, AT_ONCE)]
    parts = [codec.posterior(frames(batch)) for batch in batches]
    mean, logvar = (torch.cat([part.cpu().half() for part in some]) for some in zip(*parts, strict=True))
    write_tensors(clip.path("latents"), mean=mean, logvar=logvar)
    return {"channels": mean.shape[1]}


SPEECH = Step("speech", ("speech",), write_speech)
LATENTS = Step("latents", ("latents",), write_latents)
STEPS = (
    Step("pictures", ("video", *MASKS), _pictures),
    Step("sound", ("sound",), _sound),
    Step("identity", ("identity",), _identity),
    SPEECH,
    LATENTS,
)
