"""The recorded cases of VBench's measures: AMT-S, smoothness, consistency by DINO and by CLIP, flickering."""

from __future__ import annotations

import json
import math
import re
import zlib
from functools import lru_cache

import seeded
import torch
from cases import Unsupported, answers
from shared import shared_folder
from torch import Tensor

from joyhallo.files.checkpoint import Checkpoint, shapes
from joyhallo.measures.amt import AMT, Both
from joyhallo.measures.vbench import (
    Background,
    Flicker,
    Smoothness,
    Subject,
    background_pictures,
    consistency,
    likeness,
    mean_of_set,
    steadiness,
    subject_pictures,
)
from joyhallo.measures.vit import CLIP_SPELLING, DINO_SPELLING, ViT, joined, named

MANIFESTS = {"dino": "dino_vitb16", "clip": "clip_vitb32_visual"}
PIECE = 3  # frames that a film comes in here
CALMED = (  # last layers of AMT-S, by how much, so that flows stay within some pixels
    (r"comb_block\.2\.|decoder1\.convblock\.2\.|.*\.flow_head\.2\.", 0.1),
    (r".*\.convblock\.2\.", 0.3),
)


def state_of(net: str, salt: str) -> dict[str, Tensor]:
    """The weights of the recipe, under the published names."""
    if net == "amt_s":
        drawn = seeded.weights(shapes(AMT), "amt_s.", salt)
        return {key: calmed(key, tensor) for key, tensor in drawn.items()}
    folder = shared_folder()
    if folder is None:
        raise Unsupported("the lists of published keys are not here (../shared/manifests)")
    listed = json.loads((folder / "manifests" / f"manifest_{MANIFESTS[net]}.json").read_text())
    return seeded.weights({key: told["shape"] for key, told in listed.items()}, f"{net}.", salt)


def calmed(key: str, tensor: Tensor) -> Tensor:
    if tensor.ndim == 1 and key.endswith(".weight"):
        return tensor - 0.75  # slopes, around a quarter
    return tensor * next((factor for pattern, factor in CALMED if re.match(pattern, key)), 1.0)


@lru_cache(maxsize=1)
def network(net: str, salt: str) -> AMT | ViT:
    state = state_of(net, salt)
    if net == "amt_s":
        return Checkpoint(AMT, state).build()
    spelling = DINO_SPELLING if net == "dino" else CLIP_SPELLING
    return Checkpoint(lambda ops: ViT(spelling.sizes, ops), named(state, spelling), joined).build()


def squares(name: str, told: dict, salt: str, moving: float = 25.0) -> Tensor:
    """uint8 (n, height, width, 3): a pattern of squares that stays, and another one in each frame."""
    shape, side = (*told["cells"], 3), told["cell"]
    still = 128 + 40 * seeded.normals(f"{name}.still", shape, salt)
    pictures = [still + moving * seeded.normals(f"{name}.{frame}", shape, salt) for frame in range(told["frames"])]
    film = torch.stack(pictures).round().clamp(0, 255).byte()
    return as_recorded(film.repeat_interleave(side, 1).repeat_interleave(side, 2), told)


def glide(name: str, count: int, size: list[int], step: list[float], salt: str = "") -> Tensor:
    """uint8 (n, height, width, 3): a smooth pattern on a torus, which slides by the step (down, across) each frame."""
    table = seeded.normals(name, (16, 16, 3), salt).double()

    def at(length: int, moved: float) -> tuple[Tensor, Tensor]:
        place = (torch.arange(length, dtype=torch.float64) + moved) / 8
        return place.floor().long() % 16, place - place.floor()

    pictures = []
    for frame in range(count):
        (row, down), (column, across) = (at(length, frame * by) for length, by in zip(size, step, strict=True))
        down, across = down[:, None, None], across[:, None]
        rows = [table[some][:, column] * (1 - across) + table[some][:, (column + 1) % 16] * across
                for some in (row, (row + 1) % 16)]  # fmt: skip
        pictures.append(128 + 50 * (rows[0] * (1 - down) + rows[1] * down))
    return torch.stack(pictures).round().clamp(0, 255).byte()


def as_recorded(film: Tensor, told: dict) -> Tensor:
    assert zlib.crc32(film.numpy().tobytes()) == told["crc32"], "other frames than recorded"
    return film


def shown(measure, film: Tensor):
    for piece in film.split(PIECE):
        measure.see(piece)
    return measure


# ---- AMT-S and smoothness


@answers("amt_s_pair", "metrics")
def pair(case):
    total = sum(tensor.double().sum().item() for tensor in state_of("amt_s", case.salt).values())
    assert math.isclose(total, case.facts["weights"]["sum"], rel_tol=1e-6), "other weights than recorded"
    name, count, rows, columns, down, across = re.search(
        r"glide\('([\w.]+)', (\d+), \((\d+), (\d+)\), \(([-\d.]+), ([-\d.]+)\)", case.facts["recipe"]
    ).groups()
    sizes = int(count), [int(rows), int(columns)], [float(down), float(across)]
    film = as_recorded(glide(name, *sizes, case.salt), case.facts["frames"])
    first, _, second = (film.permute(0, 3, 1, 2).float() / 255).split(1)
    net = network("amt_s", case.salt)
    made = net(first, second)
    yield "out.middle", made.picture
    yield "out.middle_t25", net(first, second, 0.25).picture[..., ::4, ::4]
    for level, flow in zip((4, 3, 2), made.flows, strict=False):
        for number, part in enumerate(flow.chunk(2, 1)):
            yield f"out.flow{number}_{level}", part
    for number, part in enumerate(made.flows[-1].chunk(2, 1)):
        yield f"out.flow{number}_1", part.unflatten(1, (3, 2))[..., ::2, ::2]
    mean = torch.cat([first, second]).mean()
    maps = net.feat_encoder(torch.cat([first, second]) - mean)
    yield "out.fmap0", maps[:1]
    still = torch.zeros(1, 2, *maps.shape[2:])
    for number, part in enumerate(Both.of(*maps.split(1)).look_up(still + 0.3, still - 0.7).chunk(2, 1)):
        yield f"out.corr{number}", part[:, ::7]
    yield "out.pyramid4", net.encoder(first - mean)[-1]


@answers("smoothness", "metrics")
def smoothness(case):
    for name, told in case.facts["plan"].items():
        film = as_recorded(glide(f"amt.{name}", told["frames"], told["size"], told["step"], case.salt), told["crc"])
        measure = shown(Smoothness(network("amt_s", case.salt)), film)
        yield f"out.{name}.mae", measure.series.float()
        yield f"out.{name}.first_middle", measure.guess(film[:1], film[2:3])[0, ::3, ::3]
        for score in ("score", "WRONG_rounded"):
            yield f"out.{name}.{score}", torch.tensor(steadiness(measure.series))


# ---- consistency


@answers("consistency", "metrics")
def of_features(case):
    films = [likeness(case[name]) for name in sorted(case.inputs)]
    for name in "out.per_video", "out.per_video_WRONG_no_clamp":
        yield name, torch.tensor([consistency(film) for film in films])
    for name in "out.set", "out.set_WRONG_mean_of_videos":
        yield name, torch.tensor(mean_of_set([consistency(film) for film in films], [len(film) for film in films]))


@answers("(dino|clip)_consistency", "metrics")
def of_networks(case):
    net, films = case.facts["net"], []
    kind, prepared = (Subject, subject_pictures) if net == "dino" else (Background, background_pictures)
    for name, told in case.facts["plan"].items():
        film = squares(f"{net}.{name}", told, case.salt)
        measure = shown(kind(network(net, case.salt)), film)
        films.append(measure.series)
        for answer in "features", "WRONG_antialias_features":
            yield f"out.{name}.{answer}", measure.features
        yield f"out.{name}.score", torch.tensor(consistency(films[-1]))
        yield f"out.{name}.pixels", prepared(film[:1])[0, :, ::6, ::6]
    yield "out.set", torch.tensor(mean_of_set([consistency(film) for film in films], [len(film) for film in films]))


@answers("flicker", "metrics")
def flicker(case):
    for name, told in case.facts["plan"].items():
        film = squares(f"flicker.{name}", told, case.salt, 0.0 if name == "still" else 25.0)
        yield f"out.{name}", torch.tensor(steadiness(shown(Flicker(), film).series))
