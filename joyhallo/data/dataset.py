"""Datasets of prepared clips on disk: writing them, and reading them for training (`open_dataset`, `Clip`).

    DATASET/dataset.json      what made it: settings, and digests of the models
    DATASET/manifest.jsonl    a line for each clip, good or not, with the reason: see `Record`
    DATASET/clips/ID/         its files, and record.json, which is its line of the manifest

Paths within are relative, so that a dataset may be moved. A file under its own name is always complete.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..config import FPS, SAMPLE_RATE
from ..diffusion.codec import LATENT_SCALE
from ..faces.boxes import Picture
from ..faces.regions import Mask
from ..files.digests import sha256
from ..film.write import YUV444, File, Format, Grade, VideoError
from ..libraries import brief, library
from ..methods.hallo.masks import SoftMasks, locator, pixels, pyramid
from ..methods.hallo.sampling import Portrait
from ..sound.audio import Recording, load

VERSION = 1
FACTS, MANIFEST, CLIPS, RECORD = "dataset.json", "manifest.jsonl", "clips", "record.json"

Status = Literal["ok", "skipped", "failed"]  # skipped: not fit to learn from; failed: something went wrong
Split = Literal["train", "validation"]
SPLITS: tuple[Split, Split] = ("train", "validation")

MASKS = ("face_mask", "pose_mask", "expression_mask", "lip_mask")
NAMES = {  # of the files of a clip
    "video": "video.mp4",
    "sound": "sound.wav",
    **{name: f"{name}.png" for name in MASKS},
    "identity": "identity.safetensors",
    "speech": "speech.safetensors",
    "latents": "latents.safetensors",
    "mouth": "mouth.safetensors",
}
ALWAYS = tuple(name for name in NAMES if name not in ("speech", "latents", "mouth"))
SAMPLES = SAMPLE_RATE // FPS  # of each frame

# Key frames are near each other, so that a clip in the middle is soon decoded, and colour is kept at full size: lips of
# a few pixels would lose theirs. One thread, since the threads of the encoder shape what it makes.
KEY_FRAMES = 12
FILM = Format(
    container="mp4",
    options={"movflags": "+faststart"},
    video="libx264",
    audio="aac",
    samples="fltp",
    rates=(),
    grades={
        "high": Grade(
            replace(YUV444, name="yuv444p", bits=8),
            {"crf": "12", "preset": "fast", "g": f"{KEY_FRAMES}", "bf": "0", "threads": "1"},
        )
    },
)


class DatasetError(ValueError):
    """A dataset cannot be used; the message is for the user."""


# ---- what is known of a clip


@dataclass(frozen=True)
class Stored:
    """A file of a clip."""

    path: str  # from the dataset's folder, with slashes
    size: int  # bytes
    sha256: str


@dataclass(frozen=True)
class Record:
    """A line of the manifest. It says the same whoever prepared the clip, where and when."""

    id: str
    source: str  # from the folder of videos, or what else it was made from
    status: Status
    reason: str = ""  # why it is not ok
    split: Split = "train"
    speaker: str = ""  # all clips of one are in one split
    length: int = 0  # frames
    size: int = 0  # pixels of each side
    files: Mapping[str, Stored] = field(default_factory=dict)  # by the names of NAMES
    keys: Mapping[str, str] = field(default_factory=dict)  # by step: the digest of all that it follows from
    about: Mapping[str, Any] = field(default_factory=dict)  # the crop, the quality, what was doubtful

    @classmethod
    def read(cls, line: str) -> Record:
        found = json.loads(line)
        files = {name: Stored(**facts) for name, facts in found.pop("files", {}).items()}
        return cls(**found, files=files)

    def written(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False, sort_keys=True)


def split_of(speaker: str, share: float) -> Split:
    """The split of a speaker, from the name alone: it is the same whichever others there are."""
    return "validation" if _place(speaker) < share else "train"


def share_for_one(speakers: Iterable[str]) -> float | None:
    """The roundest share that holds out one of these speakers and no other; None if there is only one.

    As the name alone decides, a small share may hold out nobody of a few.
    """
    first, *others = sorted({_place(speaker) for speaker in speakers}) or [0.0]
    if not others:
        return None
    shares = ((math.floor(first * 10**digits) + 1) / 10**digits for digits in range(1, 17))
    return next((share for share in shares if share <= others[0]), others[0])


def _place(speaker: str) -> float:
    return int.from_bytes(hashlib.sha256(speaker.encode()).digest()[:8], "big") / 2**64


NONE_HELD_OUT = "No clip is held out for validation, so there will be no validation videos."


def none_held_out(speakers: Iterable[str]) -> str:
    """Say so, and which option changes it."""
    if (share := share_for_one(speakers)) is None:
        return f"{NONE_HELD_OUT} There is only one speaker, who is needed for training."
    return (
        f"{NONE_HELD_OUT} To hold out one speaker, prepare again with --validation {share:.16g}; finished clips are "
        "not prepared twice."
    )


# ---- writing


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, which replaces it on success, complete and safely on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex}{path.suffix}")
    temporary.touch()
    mode = temporary.stat().st_mode
    try:
        yield temporary
        temporary.chmod(mode)  # safetensors would keep others from reading it
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_film(path: Path, batches: Iterable[Tensor]) -> int:
    """Square frames, batches (n, 3, size, size) in 0..1 -> a video without sound; how many there were."""
    with replacing(path) as temporary, File(temporary, FILM, FILM.grades["high"], Fraction(FPS), None, {}) as file:
        for batch in batches:
            file.add(batch)
        file.finish()
        return file.count


def write_sound(path: Path, samples: Tensor) -> None:
    """samples (n) at SAMPLE_RATE in -1..1 -> 16 bits, one channel"""
    soundfile = library("soundfile", "Writing sound files")
    with replacing(path) as temporary:
        soundfile.write(temporary, samples.clamp(-1, 1).numpy(), SAMPLE_RATE, subtype="PCM_16")


def write_mask(path: Path, mask: Mask) -> None:
    with replacing(path) as temporary:
        Image.fromarray(mask).save(temporary, optimize=True)


def write_masks(folder: Path, face: Mask, regions: SoftMasks) -> None:
    """face: hard, as large as the frames"""
    for name, mask in zip(MASKS, (face, regions.pose, regions.expression, regions.lip), strict=True):
        write_mask(folder / NAMES[name], mask)


def write_tensors(path: Path, **tensors: Tensor) -> None:
    with replacing(path) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary)


def stored(root: Path, id: str, names: Iterable[str]) -> dict[str, Stored]:
    """The existing files of a clip."""
    places = {name: f"{CLIPS}/{id}/{NAMES[name]}" for name in names}
    return {
        name: Stored(place, (root / place).stat().st_size, sha256(root / place))
        for name, place in places.items()
        if (root / place).is_file()
    }


def write_record(root: Path, record: Record) -> None:
    write_text(root / CLIPS / record.id / RECORD, record.written() + "\n")


def read_record(root: Path, id: str) -> Record | None:
    """Read a clip's record; None if there is none, or if another version wrote it."""
    try:
        return Record.read((root / CLIPS / id / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def write_manifest(root: Path, records: Iterable[Record]) -> None:
    lines = [record.written() for record in sorted(records, key=lambda record: record.id)]
    write_text(root / MANIFEST, "".join(f"{line}\n" for line in lines))


def write_facts(root: Path, **facts: Any) -> None:
    write_text(root / FACTS, json.dumps({"version": VERSION, **facts}, indent=2, ensure_ascii=False) + "\n")


# ---- reading


@dataclass(frozen=True)
class Clip:
    """A clip for training. It holds only its record: everything else is read on demand."""

    root: Path
    record: Record

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def length(self) -> int:
        """The number of frames; the sound and all else per frame has the same length."""
        return self.record.length

    @property
    def size(self) -> int:
        """Pixels of each side."""
        return self.record.size

    @property
    def identity(self) -> Tensor:
        """The recogniser's embedding (512), not normalised."""
        return self._tensor("identity", "identity").clone()

    @property
    def speech(self) -> Tensor:
        """(length, layers, width). Mapped from the disk, so only the parts in use are read."""
        return self._tensor("speech", "features")

    @property
    def mouth(self) -> Tensor | None:
        """(length): the true opening of the mouth, in 0..1, if known. Its file holds more."""
        return self._tensor("mouth", "opening") if "mouth" in self.record.files else None

    @property
    def face_mask(self) -> Tensor:
        """(size, size) in 0..1: where the face is in any frame"""
        return torch.from_numpy(self._mask("face_mask")).float().div(255)

    @property
    def masks(self) -> SoftMasks:
        return SoftMasks(*(self._mask(name) for name in MASKS[1:]))

    @property
    def recording(self) -> Recording:
        return load(self.path("sound"))

    def frames(self, indices: Sequence[int]) -> Tensor:
        """(n, 3, size, size) in -1..1, in the order asked for"""
        self._check(indices)
        found = torch.empty(len(indices), 3, self.size, self.size)
        for place, picture in enumerate(read_frames(self.path("video"), indices)):
            found[place] = pixels(picture, (self.size, self.size))
        return found

    def latents(self, indices: Sequence[int]) -> tuple[Tensor, Tensor] | None:
        """Mean and log-variance (n, channels, height, width) of the encoded frames, if stored.

        In the networks' units: `mean + exp(logvar / 2) * noise` is a latent as the sampler denoises it.
        """
        if "latents" not in self.record.files:
            return None
        self._check(indices)
        chosen = torch.as_tensor(list(indices))
        mean, logvar = (self._tensor("latents", name)[chosen].float() for name in ("mean", "logvar"))
        return mean, logvar

    def portrait(self, index: int = 0) -> Portrait:
        """One of its frames as a portrait for the sampler."""
        size, face = (self.size, self.size), self._mask("face_mask")
        return Portrait(self.frames([index])[0], self.identity, locator(face, size), pyramid(self.masks, size))

    def path(self, name: str) -> Path:
        return self.root / self.record.files[name].path

    def _mask(self, name: str) -> Mask:
        return np.array(Image.open(self.path(name)).convert("L"))

    def _tensor(self, file: str, name: str) -> Tensor:
        with safe_open(self.path(file), "pt") as content:
            return content.get_tensor(name)

    def _check(self, indices: Sequence[int]) -> None:
        if beyond := [index for index in indices if not 0 <= index < self.length]:
            raise IndexError(f"Clip {self.id} has {self.length} frames; frame {beyond[0]} does not exist.")


@dataclass(frozen=True)
class Problem:
    """A clip that cannot be used, and why."""

    id: str
    source: str
    reason: str


@dataclass(frozen=True)
class Dataset:
    root: Path
    split: Split
    clips: Sequence[Clip]
    problems: Sequence[Problem]  # of both splits
    facts: Mapping[str, Any]  # of dataset.json

    @cached_property
    def frames(self) -> int:
        return sum(clip.length for clip in self.clips)


def open_dataset(
    folder: str | Path, split: Split = "train", *, needs: Sequence[str] = ("speech",), verify: bool = False
) -> Dataset:
    """The clips of a split whose files are all there.

    needs: files that a clip must have beside the usual ones: some of speech, latents, mouth. Single pictures need none.
    verify: read every file and compare its digest.
    """
    root = Path(folder)
    facts, records = read_facts(root), read_manifest(root)
    if split not in SPLITS:
        raise DatasetError(f"The split {split!r} is unknown; choose one of {', '.join(SPLITS)}.")
    clips, problems = [], []
    for record in records:
        reason = record.reason or record.status if record.status != "ok" else _trouble(root, record, needs, verify)
        if reason:
            problems.append(Problem(record.id, record.source, reason))
        elif record.split == split:
            clips.append(Clip(root, record))
    return Dataset(root, split, clips, problems, facts)


def read_facts(root: Path) -> dict[str, Any]:
    path = root / FACTS
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DatasetError(
            f"{root} is not a dataset: it lacks {FACTS}. Make one with python -m joyhallo.data.prepare or "
            "joyhallo.drawn.synthesize."
        ) from error
    except ValueError as error:
        raise DatasetError(f"{path} is not valid JSON ({brief(error)}); prepare the dataset again.") from error
    if facts.get("version") != VERSION:
        raise DatasetError(
            f"{root} is a dataset of version {facts.get('version')}, but this version of the code expects {VERSION}; "
            "prepare it again."
        )
    return facts


def read_manifest(root: Path) -> list[Record]:
    path = root / MANIFEST
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise DatasetError(f"{root} has no {MANIFEST}: its preparation was stopped. Run it again.") from error
    records = []
    for number, line in enumerate(lines, 1):
        try:
            records.append(Record.read(line))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DatasetError(
                f"Line {number} of {path} is not a clip's record ({brief(error)}); run the preparation again to "
                "rewrite it."
            ) from error
    return records


def _trouble(root: Path, record: Record, needs: Sequence[str], verify: bool) -> str:
    """The first fault of a clip's files, or an empty string."""
    if absent := [name for name in (*ALWAYS, *needs) if name not in record.files]:
        return f"its record names no {', '.join(absent)}; prepare it again"
    for name, file in record.files.items():
        path = root / file.path
        if not path.is_file():
            return f"{name} is missing: {file.path} does not exist; prepare it again"
        if (found := path.stat().st_size) != file.size:
            return f"{name} has {found} bytes, expected {file.size}: {file.path}; prepare it again"
        if verify and sha256(path) != file.sha256:
            return f"{name} was changed after it was made: {file.path}; prepare it again"
    return _misfit(root, record)


def _misfit(root: Path, record: Record) -> str:
    """The fault of tensors that do not match the clip's length, or an empty string."""
    shapes = {"speech": ("features", (record.length, None, None)), "identity": ("identity", (None,))}
    side = record.size // LATENT_SCALE
    shapes |= {"mouth": ("opening", (record.length,)), "latents": ("mean", (record.length, None, side, side))}
    for name, (tensor, expected) in shapes.items():
        if name not in record.files:
            continue
        try:
            with safe_open(root / record.files[name].path, "pt") as content:
                found = tuple(content.get_slice(tensor).get_shape())
        except SafetensorError as error:
            return f"{name} cannot be read ({brief(error)}); prepare it again"
        if len(found) != len(expected) or any(e not in (None, f) for f, e in zip(found, expected, strict=True)):
            return f"{name} has the shape {found}, which does not fit {record.length} frames; prepare it again"
    return ""


def read_frames(path: Path, indices: Sequence[int]) -> list[Picture]:
    """Read frames of a video from `write_film`, whose key frames are close together and which has no B-frames."""
    av = library("av", "Reading videos")
    found: dict[int, Picture] = {}
    try:
        with av.open(str(path)) as file:
            stream = file.streams.video[0]
            stream.thread_type, stream.codec_context.thread_count = "SLICE", 1  # data loaders have their own workers
            coming, at = file.decode(stream), -1
            for index in sorted(set(indices)):
                if not at < index <= at + KEY_FRAMES:
                    file.seek(round(index / FPS / stream.time_base), stream=stream)
                    coming = file.decode(stream)
                while (frame := next(coming, None)) is not None:
                    at = round(frame.pts * stream.time_base * FPS)
                    if at >= index:
                        break
                if frame is None or at != index:
                    raise VideoError(f"{path} has no frame {index}; prepare the clip again.")
                found[index] = frame.to_ndarray(format="rgb24")
    except (OSError, av.error.FFmpegError) as error:
        raise VideoError(f"{path} cannot be read ({brief(error)}); prepare the clip again.") from error
    return [found[index] for index in indices]
