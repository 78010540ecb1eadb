"""The recorded cases of comparisons with a truth, and of measures of pictures: FID, SSIM, PSNR, Q-Align, HyperIQA."""

from __future__ import annotations

import math
import re
import zlib

import seeded
import torch
from cases import answers
from seeded import normals
from torch import Tensor

from joyhallo.files.checkpoint import Checkpoint
from joyhallo.measures import hyperiqa, qalign
from joyhallo.measures.frechet import Moments, distance
from joyhallo.measures.similarity import WINDOWS, Similarity

RECIPE = r"frames\('(\w+)', (\d+), \((\d+), (\d+)\), (\d+), salt(?:, moving=(\d+))?\)"


def frames(name: str, count: int, cells: tuple[int, int], cell: int, salt: str, moving: float = 25.0) -> Tensor:
    """The recipe: squares of random colours, a part that stays and a part of each frame's own."""
    still = normals(f"{name}.still", (*cells, 3), salt)
    drawn = [128 + 40 * still + moving * normals(f"{name}.{at}", (*cells, 3), salt) for at in range(count)]
    made = torch.stack(drawn).round().clamp(0, 255).to(torch.uint8)
    return made.repeat_interleave(cell, 1).repeat_interleave(cell, 2)


def frames_of(case) -> Tensor:
    """What the case's recipe says. A mistake in it would look like one in the measure."""
    name, *numbers, moving = re.search(RECIPE, case.facts["recipe"]).groups()
    count, rows, columns, cell = map(int, numbers)
    made = frames(name, count, (rows, columns), cell, case.salt, float(moving or 25))
    assert zlib.crc32(made.numpy().tobytes()) == case.facts["frames"]["crc32"], "other frames than recorded"
    return made


@answers("similarity", "metrics")
def similarity(case):
    a, b = frames_of(case).split(1)
    found = Similarity(tuple(WINDOWS))
    found.see(a, b)
    yield "out.psnr", found.psnr()[0]
    names = {"gaussian": "ssim_gauss_rgb", "reflected": "ssim_torchmetrics", "uniform": "ssim_uniform7_rgb"}
    for ours, theirs in names.items():
        yield f"out.{theirs}", found.ssim(ours)[0]


@answers("fid", "metrics")
def fid(case):
    for name, facts in case.facts["plan"].items():
        sets = [gathered(features) for features in feature_sets(name, facts["n"], facts["dim"], case.salt)]
        found = torch.tensor(distance(*sets))
        yield f"out.{name}", found
        yield f"out.{name}_fvd", found
        yield f"out.{name}_mu", sets[0].mean
        yield f"out.{name}_sigma", sets[0].covariance
        yield f"out.{name}_WRONG_biased_cov", found


def feature_sets(name: str, counts: list[int], width: int, salt: str) -> list[Tensor]:
    mix = normals(f"fid.{name}.mix", (width, width), salt).double() / math.sqrt(width)
    a, b = (normals(f"fid.{name}.{s}", (n, width), salt).double() @ mix for s, n in zip("ab", counts, strict=True))
    return [a, a if name == "same" else 0.8 * b + 0.3]


def gathered(features: Tensor) -> Moments:
    moments = Moments(features.shape[1])
    for part in features.split(64):
        moments.see(part)
    return moments


@answers("qalign", "metrics")
def answers_of_a_language_model(case):
    found = qalign.score(case["logits"])
    yield "out.score01", found
    yield "out.score15", qalign.as_stars(found)
    yield "out.original_half_weights", found
    pictures = [
        frames(f"qalign.{number}", 1, (height, width), 1, case.salt)
        for number, (width, height) in enumerate(case.facts["sizes_wh"])
    ]
    yield "out.padded_first", qalign.padded(pictures[0])[0]
    yield "out.pixels", torch.cat([qalign.prepared(picture)[..., ::8, ::8] for picture in pictures])
    for shown in ("image", "video"):
        yield f"out.example_{shown}_ids", torch.tensor(qalign.tokens(qalign.prompt(shown), blank_separated))
    for number, (count, fps) in enumerate(case.facts["index_rows"]):
        yield f"out.indices_{number}", torch.tensor(qalign.seconds(count, fps), dtype=torch.int64)


def blank_separated(text: str) -> list[int]:
    """The stand-in of a tokenizer."""
    words = text.replace("\n", " \n ").split(" ")
    return [1, *(2 + zlib.crc32(word.encode()) % 60 for word in words if word)]


@answers("hyperiqa", "metrics")
def scored_by_rules(case):
    net = Checkpoint(hyperiqa.HyperIQA, weights_of_hyperiqa(case.salt), hyperiqa.without_norms).build()
    shown = hyperiqa.seen(frames_of(case))
    maps, local = net.res(shown)
    rules, scores = net.rules(maps), net(shown)
    yield "out.scores", scores
    yield "out.video", scores.mean()
    yield "out.target_in_vec", local
    yield "out.fc4b", rules[3][1]
    yield "out.fc5w", rules[4][0][:, 0]


def weights_of_hyperiqa(salt: str) -> dict[str, Tensor]:
    shapes = hyperiqa.published()
    state = seeded.weights(shapes, "hyperiqa.", salt)
    for key, shape in shapes.items():
        if key.endswith(".running_var"):
            state[key] = (1 + 0.1 * normals(f"hyperiqa.{key}", shape, salt)).abs()
    return state
