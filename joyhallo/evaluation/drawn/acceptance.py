"""Acceptance figures of a model of drawn people, each with a control that must fail the same mark."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ...faces.boxes import Picture
from ...measures.curves import Curve, best_lag, correlation, lagged, partial
from ...methods.hallo.config import CHUNK_FRAMES
from ...methods.hallo.sampling import Codec
from ..figures import WHITE, Film, distances, interval, nearest, psnr, steps
from .makers import Maker, as_film
from .talks import Talk, loudness, portraits

log = logging.getLogger(__name__)

ALL, NONE, WITHOUT_LIP, WITHOUT_POSE = (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1.0, 1.0, 0.0), (0.0, 1.0, 1.0)
OTHER_SEED = 1000  # further
HEARD = slice(12, None)  # frames: all talks begin with silence, and a shared beginning does not show that a model hears
FURTHEST = 15  # frames that a mouth may be early or late
DELAY = 5  # frames, of the control
STOP = CHUNK_FRAMES  # where a talk is broken off
CLOSING = 6  # frames that a mouth may take to shut
EVERY = 8  # frames of which one is looked at for whose it is
UNSEEN = 0.01 * WHITE  # about the least change of brightness that an eye notices


# ---- a figure


@dataclass(frozen=True)
class Mark:
    least: float = -math.inf
    most: float = math.inf

    def met(self, value: float) -> bool:
        return self.least <= value <= self.most


@dataclass(frozen=True)
class Figure:
    name: str
    value: float
    mark: Mark
    control: str  # what the same measure is taken of, and must miss the mark
    controlled: float
    interval: tuple[float, float] | None = None  # 95 %, of clips drawn again
    beside: str = ""
    form: str = ".2f"
    each: Sequence[float] = field(default=(), repr=False)  # clip by clip

    @property
    def verdict(self) -> str:
        if not self.mark.met(self.value):
            return "missed"
        return "tells nothing" if self.mark.met(self.controlled) else "met"


# ---- what is measured


@dataclass(frozen=True)
class Plan:
    """The amount of clips; noisier figures need more."""

    clips: int = 20
    frames: int = 80  # of each
    some: int = 12  # clips made again with other sounds or weights
    few: int = 8  # of these, begun alone
    begun: int = 48  # frames
    people: int = 50  # among whom one is to be told
    seeds: Sequence[int] = (42, 43, 44)  # dealt in turn


QUICK = Plan(clips=4, frames=48, some=2, few=2, begun=32)


class Takes:
    """The films of a model, each made once, on demand."""

    def __init__(self, maker: Maker, talks: Sequence[Talk], plan: Plan, codec: Codec | None = None):
        self.maker, self.talks, self.plan, self.codec = maker, talks, plan, codec
        self._made: dict[tuple[str, int], Film] = {}

    @property
    def some(self) -> range:
        return range(min(self.plan.some, len(self.talks)))

    @property
    def few(self) -> range:
        return range(min(self.plan.few, len(self.talks)))

    def spoken(self, number: int) -> Film:
        return self._take("spoken", number, self.talks[number], self.talks[number].samples)

    def scrambled(self, number: int) -> Film:
        return self._take("scrambled", number, self.talks[number], self.talks[number].scrambled())

    def off(self, number: int) -> Film:
        talk = self.talks[number]
        return self._take("with the sound switched off", number, talk, talk.samples, NONE)

    def broken_off(self, number: int) -> Film:
        talk = self.begun(number)
        return self._take("broken off", number, talk, talk.broken_off(STOP))

    def weighted(self, number: int, name: str, weights: Sequence[float]) -> Film:
        talk = self.begun(number)
        return self._take(f"without {name}", number, talk, talk.samples, weights)

    def first_chunk(self, name: str, more: int = 0) -> Film:
        talk = self.talks[0].begun(CHUNK_FRAMES)
        return self._take(name, 0, talk, talk.samples, ALL, more)

    def begun(self, number: int) -> Talk:
        return self.talks[number].begun(self.plan.begun)

    def mouth(self, number: int) -> Curve:
        return self.talks[number].gauge.opening(self.spoken(number))

    @cached_property
    def following(self) -> Following:
        numbers = range(len(self.talks))
        return follow([self.mouth(number) for number in numbers], [talk.opening for talk in self.talks])

    def _take(
        self, kind: str, number: int, talk: Talk, samples: Tensor, weights: Sequence[float] = ALL, more: int = 0
    ) -> Film:
        if (kind, number) not in self._made:
            begun, seed = time.monotonic(), self.plan.seeds[number % len(self.plan.seeds)] + more
            self._made[kind, number] = self.maker.make(talk, samples, weights, seed)
            log.info("%s, %s: %d s", talk.name, kind, time.monotonic() - begun)
        return self._made[kind, number]


# ---- the mouth


@dataclass(frozen=True)
class Following:
    """Correlations of mouths with what they say, and with what others say."""

    own: Sequence[float]  # clip by clip
    others: Sequence[float]  # the same, as a mean over all others

    @property
    def is_clear(self) -> bool:
        """Whether a few clips show it, too: less strict than the marks, but beyond chance or a shared habit."""
        return _mean(self.own) > 0.5 and _mean(self.own) > _mean(self.others) + 0.4


def follow(mouths: Sequence[Curve], truths: Sequence[Curve]) -> Following:
    table = [[correlation(mouth[HEARD], truth[HEARD]) for truth in truths] for mouth in mouths]
    own = [row[i] for i, row in enumerate(table)]
    return Following(own, [_mean(row[:i] + row[i + 1 :]) for i, row in enumerate(table)])


def _loudness_alone(talks: Sequence[Talk], sounds: Sequence[Tensor]) -> str:
    """The correlation of loudness with the mouth, by its better measure, dB or amplitude."""
    pairs = [(loudness(sound)[HEARD], talk.opening[HEARD]) for talk, sound in zip(talks, sounds, strict=True)]
    both = [_mean([correlation(heard[:, i], truth) for heard, truth in pairs]) for i in range(2)]
    return f"loudness alone {max(both):.2f}"


def _sync(takes: Takes) -> Figure:
    found = takes.following
    return Figure(
        "mouth and true mouth: correlation",
        _mean(found.own),
        Mark(least=0.80),
        "the mouth that another sound asks for",
        _mean(found.others),
        interval(found.own),
        _loudness_alone(takes.talks, [talk.samples for talk in takes.talks]),
        each=found.own,
    )


def _content(takes: Takes) -> Figure:
    def left(mouths: Sequence[Curve]) -> list[float]:
        pairs = zip(mouths, takes.talks, strict=True)
        return [partial(mouth[HEARD], talk.opening[HEARD], loudness(talk.samples)[HEARD]) for mouth, talk in pairs]

    each = left([takes.mouth(number) for number in range(len(takes.talks))])
    return Figure(
        "the same, given loudness",
        _mean(each),
        Mark(least=0.40),
        "a mouth that opens with loudness",
        _mean(left([_loud_mouth(talk) for talk in takes.talks])),
        interval(each),
        each=each,
    )


def _loud_mouth(talk: Talk) -> Curve:
    """A mouth that follows loudness, as smoothly as mouths move."""
    return np.convolve(np.pad(loudness(talk.samples)[:, 1], 1, "edge"), np.ones(3) / 3, "valid")


def _other(takes: Takes) -> Figure:
    found = takes.following
    return Figure(
        "against another clip's sound",
        _mean(found.others),
        Mark(-0.15, 0.15),
        "against its own sound",
        _mean(found.own),
        interval(found.others),
        each=found.others,
    )


def _off(takes: Takes) -> Figure:
    talks = [takes.talks[i] for i in takes.some]
    mouths = [talk.gauge.opening(takes.off(i)) for i, talk in zip(takes.some, talks, strict=True)]
    each = [correlation(mouth[HEARD], talk.opening[HEARD]) for mouth, talk in zip(mouths, talks, strict=True)]
    return Figure(
        "with the sound switched off",
        _mean(each),
        Mark(-0.15, 0.15),
        "the same clips with it",
        _mean([takes.following.own[i] for i in takes.some]),
        interval(each),
        each=each,
    )


def _scrambled(takes: Takes) -> Figure:
    talks = [takes.talks[i] for i in takes.some]
    mouths = [talk.gauge.opening(takes.scrambled(i)) for i, talk in zip(takes.some, talks, strict=True)]
    found = follow(mouths, [talk.opening for talk in talks])
    return Figure(
        "with its loudness scrambled",
        _mean(found.own),
        Mark(least=0.80),
        "the mouth that another sound asks for",
        _mean(found.others),
        interval(found.own),
        _loudness_alone(talks, [talk.scrambled() for talk in talks]),
        each=found.own,
    )


def _lag(takes: Takes) -> Figure:
    pairs = [(takes.mouth(i)[HEARD], talk.opening[HEARD]) for i, talk in enumerate(takes.talks)]
    found = best_lag([lagged(mouth, truth, FURTHEST) for mouth, truth in pairs])
    late = best_lag([lagged(mouth[:-DELAY], truth[DELAY:], FURTHEST) for mouth, truth in pairs])
    return Figure(
        "frames that it is late", found, Mark(-1, 1), f"the mouth {DELAY} frames later", late, form=".0f"
    )  # fmt: skip


def _silence(takes: Takes) -> Figure:
    """Opening in silence, relative to the mean while the same people speak."""
    albums = [takes.talks[i].album for i in takes.few]
    rest = slice(STOP + CLOSING, None)
    silent = [album.opening(takes.broken_off(i)[rest]).mean() for i, album in zip(takes.few, albums, strict=True)]
    begun = [album.opening(takes.spoken(i)[: takes.plan.begun]) for i, album in zip(takes.few, albums, strict=True)]
    speech = max(_mean([mouth.mean() for mouth in begun]), 1e-6)
    return Figure(
        "open in silence, against speech",
        _mean(silent) / speech,
        Mark(most=0.10),
        "where it goes on speaking",
        _mean([mouth[rest].mean() for mouth in begun]) / speech,
        each=silent,
    )


def _lips(takes: Takes) -> Figure:
    def removed(name: str, weights: Sequence[float]) -> float:
        left = [_moved(takes.talks[i], takes.weighted(i, name, weights)) for i in takes.few]
        return 1 - _mean(left) / _mean(before)

    before = [_moved(takes.talks[i], takes.spoken(i)[: takes.plan.begun]) for i in takes.few]
    return Figure(
        "its motion that lip weight 0 removes",
        removed("lip", WITHOUT_LIP),
        Mark(least=0.70),
        "pose weight 0",
        removed("pose", WITHOUT_POSE),
    )


def _moved(talk: Talk, film: Film) -> float:
    return float(talk.gauge.opening(film).var())


# ---- the picture


def _likeness(takes: Takes, name: str, part: str, least: float) -> Figure:
    def against(shift: int) -> list[float]:
        count = len(takes.talks)
        return [
            psnr(takes.spoken(i), takes.talks[(i + shift) % count].truth, getattr(talk, part))
            for i, talk in enumerate(takes.talks)
        ]

    each = against(0)
    return Figure(
        f"{name}, dB",
        _mean(each),
        Mark(least=least),
        "against somebody else",
        _mean(against(1)),
        interval(each),
        form=".1f",
        each=each,
    )


def _face(takes: Takes) -> Figure:
    return _likeness(takes, "face beside the lips", "face", 20)


def _around(takes: Takes) -> Figure:
    return _likeness(takes, "around the face", "around", 24)


def _identity(takes: Takes) -> Figure:
    known = portraits(takes.plan.people, takes.talks[0].sitter.size)
    found = [nearest(takes.spoken(i)[::EVERY], known, talk.beside_lips) for i, talk in enumerate(takes.talks)]
    each = [float((numbers == i).mean()) for i, numbers in enumerate(found)]
    swapped = [float((numbers == (i + 1) % len(found)).mean()) for i, numbers in enumerate(found)]
    return Figure(
        f"told among {len(known)} people",
        _mean(each),
        Mark(least=0.95),
        "portraits swapped",
        _mean(swapped),
        each=each,
    )


def _flicker(takes: Takes) -> Figure:
    talks, films = takes.talks, [takes.spoken(i) for i in range(len(takes.talks))]
    each = [float(steps(film, talk.beside_lips).mean()) for film, talk in zip(films, talks, strict=True)]
    jumping = [distances(lower(film), film, talk.beside_lips).mean() for film, talk in zip(films, talks, strict=True)]
    moving = _mean([steps(talk.moving, talk.beside_lips).mean() for talk in talks])
    return Figure(
        "step from frame to frame, of 255",
        _mean(each),
        Mark(most=max(1.5 * moving, UNSEEN)),
        "a jump by a pixel",
        _mean(jumping),
        interval(each),
        f"drawn people who move {moving:.2f}",
        each=each,
    )


def _seams(takes: Takes) -> Figure:
    each, jumping = [], []
    for i, talk in enumerate(takes.talks):
        film, where = takes.spoken(i), talk.beside_lips
        change, seams = steps(film, where), np.arange(CHUNK_FRAMES, len(film), CHUNK_FRAMES)
        usual = float(np.median(np.delete(change, seams - 1)))
        jumps = distances(lower(film[seams]), film[seams - 1], where)
        each.append(float(change[seams - 1].mean()) / max(usual, 1e-6))
        jumping.append(float(jumps.mean()) / max(usual, 1e-6))
    return Figure(
        "step at joints, in usual steps",
        _mean(each),
        Mark(most=2.0),
        "a jump by a pixel there",
        _mean(jumping),
        interval(each),
        each=each,
    )


def lower(film: Film) -> Film:
    """Move a film down by a pixel."""
    return np.concatenate([film[:, :1], film[:, :-1]], axis=1)


def _repeat(takes: Takes) -> Figure:
    first = takes.first_chunk("first chunk").astype(int)
    again, other = takes.first_chunk("the same again"), takes.first_chunk("another seed", OTHER_SEED)
    return Figure(
        "largest difference, same seed",
        float(np.abs(first - again).max()),
        Mark(0, 0),
        "another seed",
        float(np.abs(first - other).max()),
        form=".0f",
    )


def _ruler(takes: Takes) -> Figure:
    """A check of the measure itself, on drawn people through the codec."""
    talks = [takes.talks[i] for i in takes.some]
    assert takes.codec is not None
    films = [through(takes.codec, talk.truth) for talk in talks]
    mouths = [talk.gauge.opening(film) for talk, film in zip(talks, films, strict=True)]
    found = follow(mouths, [talk.opening for talk in talks])
    loss = _mean([
        psnr(film, talk.truth, np.ones_like(talk.beside_lips)) for film, talk in zip(films, talks, strict=True)
    ])  # fmt: skip
    return Figure(
        "measure: drawn mouths through codec",
        _mean(found.own),
        Mark(least=0.97),
        "those of other clips",
        _mean(found.others),
        interval(found.own),
        f"codec {loss:.1f} dB",
        each=found.own,
    )


@torch.no_grad()
def through(codec: Codec, film: Film) -> Film:
    """Encode and decode a film."""
    pixels = torch.tensor(film).movedim(-1, 1).float() / 127.5 - 1
    return np.concatenate([as_film(codec.decode(codec.encode(some)).movedim(1, -1)) for some in pixels.split(16)])


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


FIGURES: Mapping[str, Callable[[Takes], Figure]] = {
    "ruler": _ruler,
    "sync": _sync,
    "content": _content,
    "other": _other,
    "off": _off,
    "scrambled": _scrambled,
    "lag": _lag,
    "silence": _silence,
    "lips": _lips,
    "face": _face,
    "around": _around,
    "identity": _identity,
    "flicker": _flicker,
    "seams": _seams,
    "repeat": _repeat,
}
SOON = ("ruler", "sync", "content", "other", "lag", "face", "around", "identity", "flicker", "seams")


# ---- to look at


def sheet(takes: Takes, rows: int = 8, columns: int = 10) -> Picture:
    """Pairs of rows: how someone drawn says something, and the model's."""
    strips = []
    for i, talk in enumerate(takes.talks[:rows]):
        at = np.linspace(0, talk.length - 1, columns).astype(int)
        strips += [np.concatenate(list(film[at]), axis=1) for film in (talk.truth, takes.spoken(i))]
    return np.concatenate(strips)
