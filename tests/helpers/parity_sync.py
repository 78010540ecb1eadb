"""The recorded cases of lip sync: SyncNet with its sound, distances, crops and scores, and LatentSync's own network."""

from __future__ import annotations

import math
import re
from functools import lru_cache

import numpy as np
import seeded
import torch
from cases import Case, answers
from drawn_films import features, films
from parity_whisper import wave
from torch import Tensor
from torch.nn import functional as F

from joyhallo.files.checkpoint import Checkpoint
from joyhallo.measures.lipsync import LipSync, distances, scored, windows_of
from joyhallo.measures.speaking_crops import SpeakingCrops, longest, stretches, whole_frames
from joyhallo.measures.stable_syncnet import Sizes, StableSyncNet, Stages, agreement
from joyhallo.measures.syncnet import SyncNet, Watching, heard, published, windows_heard, windows_shown, without_norms
from joyhallo.sound.mel import mel
from joyhallo.sound.mfcc import energies, mfcc, triangles

VARIANCES = {"netcnnlip.1.running_var": 1e4, "netcnnaud.1.running_var": 100.0}  # as inputs are large


@lru_cache(maxsize=1)
def state_of(salt: str) -> dict[str, Tensor]:
    shapes = published()
    state = seeded.weights(shapes, "syncnet.", salt)
    for key, shape in shapes.items():
        if key.endswith(".running_var"):
            drawn = seeded.normals(f"syncnet.{key}", shape, salt)
            state[key] = (1 + 0.1 * drawn).abs() * VARIANCES.get(key, 1.0)
    return state


@lru_cache(maxsize=1)
def network(salt: str) -> SyncNet:
    return Checkpoint(SyncNet, state_of(salt), without_norms).build()


def network_of(case: Case) -> SyncNet:
    """A mistake in the recipe would look like one in the network, so what the index tells of the weights is checked."""
    if "weights" in case.facts:
        total = sum(tensor.double().sum().item() for tensor in state_of(case.salt).values())
        assert math.isclose(total, case.facts["weights"]["sum"], rel_tol=1e-6), "other weights than recorded"
    return network(case.salt)


# ---- sound and distances


@answers("mfcc", "metrics")
def cepstra(case):
    for name, samples in case.inputs.items():
        yield f"out.{name}", mfcc(samples).float()
        mistakes = [wanted for wanted in case.wanted if wanted.startswith(f"out.{name}_WRONG_")]
        yield from ((wanted, mfcc(samples).float()) for wanted in mistakes)
        if f"out.{name}_fbank" in case.wanted:
            bands, whole = map(torch.cat, zip(*energies(samples), strict=True))
            yield f"out.{name}_fbank", bands.float()
            yield f"out.{name}_energy", whole.float()
    yield "out.filterbank", triangles().float()


@answers("distance", "metrics")
def scores(case):
    for name, plan in case.facts["plan"].items():
        seen, said = features(case, name, plan["windows"], plan["shift"])
        found = scored(seen, said, plan["vshift"])
        yield f"out.{name}.dists", distances(seen, said, plan["vshift"])
        yield from ((f"out.{name}.{part}", value) for part, value in parts(found).items())
        mistaken = {
            "median_of_all": found.confidence,
            "overlap_only_mean": found.curve,
            "offset_sign": torch.tensor(found.offset),
            "normalised_min": found.distance,
        }
        yield from ((f"out.{name}.WRONG_{mistake}", torch.as_tensor(value)) for mistake, value in mistaken.items())


def parts(found: LipSync) -> dict[str, Tensor]:
    numbers = {"min": found.distance, "median": found.median, "confidence": found.confidence, "offset": found.offset}
    curves = {"mean": found.curve, "framewise": found.framewise}
    return curves | {name: torch.tensor(number) for name, number in numbers.items()}


# ---- SyncNet


@answers("syncnet_windows", "metrics")
def windows(case):
    net, shown = network_of(case), windows_shown(films(case).flip(3))
    told = windows_heard(case["mfcc"].T, len(shown))
    for name, branch, x in ("lip", net.netcnnlip, shown), ("aud", net.netcnnaud, told):
        for place, layer in branch.named_children():
            x = layer(x)
            yield f"out.{name}_after_{place}_mean", x.mean((2, 3))
    yield "out.video", net.see(shown)
    yield "out.sound", net.hear(told)
    yield "out.video_512", net.netcnnlip(shown).flatten(1)


def compared(case: Case, sound: Tensor, film: Tensor) -> tuple[Tensor, Tensor]:
    """Features of pictures and of sound. film: B, G, R"""
    watching, net = Watching(network_of(case)), network_of(case)
    for piece in whole_frames(film.flip(3)).split(7):
        watching.see(piece)
    count = windows_of(len(film), len(sound))
    return watching.features[:count], heard(net, sound, count)


@answers("clip_(stock|lse)", "metrics")
def clip(case):
    seen, said = compared(case, case["sound"], films(case))
    found = parts(scored(seen, said))
    yield from ((f"out.{name}", value) for name, value in found.items())
    yield from (("out.lse_c", found["confidence"]), ("out.lse_d", found["min"]))
    yield from (("out.dists", distances(seen, said)), ("out.video", seen), ("out.sound", said))


@answers("clip_.*_WRONG_rgb", "metrics")
def clip_of_a_known_mistake(case):
    yield from clip(Case(case.name.partition("_WRONG_")[0], case.folder, case.index))


@answers("crop", "metrics")
def crops(case):
    boxes = case["boxes"].numpy().copy()
    boxes[case["present"].numpy() == 0] = np.nan
    second = re.fullmatch(r"box \(([\d,]+)\) in every third frame: .*", case.facts["second_face"])[1]
    small = np.full_like(boxes, np.nan)
    small[::3] = list(map(int, second.split(",")))
    found = longest(stretches(np.stack([small, boxes], 1)))
    cutting = SpeakingCrops(found)
    made = torch.cat([cutting.cut(piece) for piece in films(case).split(33)])
    yield "out.boxes", torch.from_numpy(found.boxes).float()
    yield "out.frames", torch.arange(found.start, found.stop)
    yield from ((f"out.{name}", values.float()) for name, values in zip("sxy", cutting.places, strict=True))
    kept = re.search(r"crops kept: frames \[([\d, ]+)\], every second pixel", case.facts["recipe"])[1]
    yield "out.crops", made[list(map(int, kept.split(","))), ::2, ::2]
    yield "out.crop_means", made.float().mean((1, 2, 3))


# ---- LatentSync's own


def stages(told: dict) -> Stages:
    factors = tuple(
        tuple(factor) if isinstance(factor, list) else (factor, factor) for factor in told["downsample_factors"]
    )
    return Stages(
        told["in_channels"], tuple(told["block_out_channels"]), factors, tuple(map(bool, told["attn_blocks"]))
    )


def judge(case: Case, config: dict) -> StableSyncNet:
    """Filled as a file is opened: its sizes are told by the weights."""
    sizes = Sizes(stages(config["audio_encoder"]), stages(config["visual_encoder"]))
    with torch.device("meta"):
        net = StableSyncNet(sizes)
    seeded.fill(net, case.facts["prefix"], case.salt)
    assert Sizes.of(net.state_dict()) == sizes
    return net


def spectra(case: Case, count: int) -> Tensor:
    return seeded.normals("in.syncnet.mel", (count, 1, 80, 52), case.salt).clamp(-4, 4)


@answers("mel_sync", "latentsync")
def spectrum(case):
    yield "out.mel", mel(wave(case, case.name), "silent")


@answers("syncnet", "latentsync")
def judged(case):
    count, told = case.facts["batch"], case.index["_syncnet"]
    net = judge(case, told["tiny"])
    total = sum(tensor.double().abs().sum().item() for tensor in net.state_dict().values())
    assert math.isclose(total, told["digest"]["abs_sum"], rel_tol=1e-6), "other weights than recorded"
    faces = (0.5 * seeded.normals("in.syncnet.frames", (count, 48, 128, 256), case.salt)).clamp(-1, 1)
    for name, encoder, x in ("v", net.visual_encoder, faces), ("a", net.audio_encoder, spectra(case, count)):
        x = encoder.conv_in(x)
        for number, block in enumerate(encoder.down_blocks):
            x = block(x)
            yield f"out.map_{name}{number}", x[:, :4, :4, :4]
    seen, said = net(faces, spectra(case, count))
    cosine = agreement(seen, said)
    yield from (("out.vision", seen), ("out.audio", said), ("out.cosine", cosine))
    yield "out.loss", F.binary_cross_entropy(cosine.clamp(0, 1), case["y"][:, 0], reduction="none")


@answers("syncnet_latent", "latentsync")
def judged_latents(case):
    latents = seeded.normals("in.syncnet_latent.x", (1, 64, 32, 32), case.salt)
    first = spectra(case, Case("syncnet", case.folder, case.index).facts["batch"])[:1]
    seen, said = judge(case, case.facts["config"])(latents, first)
    yield from (("out.vision", seen), ("out.audio", said))
