"""The clips of an evaluation, each with what belongs to it: files with the same stem in other folders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

VIDEOS = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".flv", ".wmv")
SOUNDS = (".wav", ".flac", ".mp3", ".m4a", ".aac", ".ogg", ".opus")
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")

ENDINGS = {"sound": (*SOUNDS, *VIDEOS), "truth": VIDEOS, "portrait": PICTURES, "source": VIDEOS}


class ClipsError(ValueError):
    """Nothing can be evaluated as it was asked for."""


@dataclass(frozen=True)
class Beside:
    """A folder with a file for each clip, by its stem, or one file for all."""

    sound: Path | None = None  # instead of the clip's own
    truth: Path | None = None  # the real film of the same
    portrait: Path | None = None
    source: Path | None = None  # the film that a redub began with


@dataclass(frozen=True)
class Clip:
    name: str  # its path from the folder that was given
    film: Path
    sound: Path | None = None
    truth: Path | None = None
    portrait: Path | None = None
    source: Path | None = None
    other: Path | None = None  # whose sound is the control's

    @property
    def heard(self) -> Path:
        return self.sound or self.film


def found(places: Sequence[Path], beside: Beside = Beside()) -> list[Clip]:
    """By their names. A ClipsError where a folder holds no film, or a file that belongs to a clip is missing."""
    films = _films(places)
    shared = {each.name: _by_stem(each.name, getattr(beside, each.name)) for each in fields(beside)}
    lacking = [
        f"{name}: {what} for {film.stem!r} in {getattr(beside, what)}"
        for what, files in shared.items()
        if isinstance(files, dict)
        for name, film in films.items()
        if film.stem.lower() not in files
    ]
    if lacking:
        some = "\n".join(lacking[:20]) + (f"\nand {len(lacking) - 20} more" if len(lacking) > 20 else "")
        raise ClipsError(
            f"{len(lacking)} files that belong to clips are missing; they are found by the clip's name without its "
            f"ending:\n{some}"
        )
    clips = [
        Clip(name, film, **{what: _of(film, files) for what, files in shared.items()}) for name, film in films.items()
    ]
    return [replace(clip, other=clips[(at + 1) % len(clips)].heard) for at, clip in enumerate(clips)]


def _films(places: Sequence[Path]) -> dict[str, Path]:
    known = dict[str, Path]()
    for place in places:
        if not place.exists():
            raise ClipsError(f"{place} does not exist; name films, or a folder of them.")
        if place.is_file():
            known[place.name if place.name not in known else place.as_posix()] = place
            continue
        inside = sorted(file for file in place.rglob("*") if _is_film(file, place))
        if not inside:
            raise ClipsError(f"{place} holds no film ({', '.join(VIDEOS)}).")
        base = place.parent if len(places) > 1 else place
        known |= {file.relative_to(base).as_posix(): file for file in inside}
    return dict(sorted(known.items()))


def _is_film(file: Path, base: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(base).parts)
    return not hidden and file.suffix.lower() in VIDEOS and file.is_file()


def _by_stem(what: str, place: Path | None) -> dict[str, Path] | Path | None:
    if place is None or place.is_file():
        return place
    if not place.is_dir():
        raise ClipsError(f"{place}, which should hold the {what} of each clip, does not exist.")
    files = [file for file in sorted(place.rglob("*")) if file.suffix.lower() in ENDINGS[what]]
    if what == "sound" and any(file.suffix.lower() in SOUNDS for file in files):
        files = [file for file in files if file.suffix.lower() in SOUNDS]  # films beside them are what they are of
    doubled = [stem for stem, count in Counter(file.stem.lower() for file in files).items() if count > 1]
    if doubled:
        raise ClipsError(f"{place} holds several files named {doubled[0]!r}; leave the one that is meant there.")
    return {file.stem.lower(): file for file in files}


def _of(film: Path, files: dict[str, Path] | Path | None) -> Path | None:
    return files[film.stem.lower()] if isinstance(files, dict) else files
