"""The recorded cases of MuseTalk: boxes, masks and pixels, its networks, and a whole inference.

Pictures are B, G, R there; boxes are left, top, right, bottom.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import seeded
import torch
from cases import Case, answers, checked, weights_with_norms
from torch import Tensor
from torch.nn import functional as F

from joyhallo.diffusion.codec import AutoencoderCodec
from joyhallo.faces.blend import Blend, Patch, blended
from joyhallo.faces.boxes import Box
from joyhallo.faces.lanczos import lanczos
from joyhallo.faces.track import Track
from joyhallo.files.checkpoint import Checkpoint
from joyhallo.methods.musetalk.boxes import Pads, halved, padded
from joyhallo.methods.musetalk.checkpoint import without_norms
from joyhallo.methods.musetalk.masks import CONE, LENS, Cheeks, Rim, Square, masks, share
from joyhallo.methods.musetalk.method import AREAS, MuseTalk, faces_of
from joyhallo.methods.musetalk.network import TOKENS, Sizes, UNet, placed
from joyhallo.methods.musetalk.parser import LABELS, Parser, normalised
from joyhallo.methods.redub import placed as pasted
from joyhallo.methods.redub import redub
from joyhallo.methods.script import Script

BRIDGE = 29  # of the 68 points
VERSIONS = {"v15": "1.5", "v1": "1.0"}


class MeanCodec:
    """As the seam has it: -1..1, not clamped; the mean of what a picture may stand for."""

    def __init__(self, codec: AutoencoderCodec):
        self.codec = codec

    def encode(self, pixels: Tensor) -> Tensor:
        return self.codec.encode(pixels)

    def decode(self, latents: Tensor) -> Tensor:
        return self.codec.autoencoder.decode(latents / self.codec.scale).sample


def sibling(case: Case, name: str) -> Case:
    return Case(name, case.folder, case.index)


@lru_cache(maxsize=1)
def unet(case: Case) -> UNet:
    told = case.facts["config"] if "config" in case.facts else case.index["unet_full_config"]
    sizes = Sizes(
        tuple(told["block_out_channels"]),
        told["layers_per_block"],
        told["cross_attention_dim"],
        told["attention_head_dim"],
        told["norm_num_groups"],
    )
    with torch.device("meta"):
        net = UNet(sizes)
    seeded.fill(net, case.facts["prefix"], case.salt)
    checked(case, net.state_dict())
    return net


def codec(case: Case) -> MeanCodec:
    from diffusers import AutoencoderKL

    with torch.device("meta"):
        autoencoder = AutoencoderKL.from_config(case.index["vae_tiny_config"])
    seeded.fill(autoencoder, "vae.", case.salt)
    checked(sibling(case, "latents"), autoencoder.state_dict())
    return MeanCodec(AutoencoderCodec(autoencoder))


def method(case: Case, version: str = "1.5", **more) -> MuseTalk:
    return MuseTalk(unet(sibling(case, "unet_tiny")), codec(case), None, version, **more)


# ---- networks


@answers("unet_tiny", "musetalk")
def one_step(case):
    sound = placed(case["audio"])
    yield "out.audio_pe", sound
    yield "out.pred", unet(case)(case["latents"], sound)


@answers("unet_tiny_WRONG_variants", "musetalk")
def one_step_of_known_mistakes(case):
    right = sibling(case, "unet_tiny")
    made = unet(right)(right["latents"], placed(right["audio"]))[:1]
    for name in case.wanted:
        yield name, made


@answers("unet_full", "musetalk")
def one_step_of_full_size(case):
    latents = seeded.normals("in.full_latents", (1, 8, 32, 32), case.salt)
    sound = seeded.normals("in.full_audio", (1, TOKENS, 384), case.salt)
    yield "out.pred", unet(case)(latents, placed(sound))


@answers("bisenet", "musetalk")
def parsed(case):
    net = Checkpoint(Parser, weights_with_norms(case, "bisenet"), without_norms).build()
    picture = normalised(case["rgb"].permute(2, 0, 1)[None].float())
    found = net(picture)
    yield "out.logits", found[..., ::4, ::4]
    coarse = F.interpolate(net.conv_out16(net.cp(picture)[1]), picture.shape[2:], mode="bilinear", align_corners=True)
    yield "out.logits16", coarse[..., ::8, ::8]
    yield "out.label", found.argmax(1)[0].byte()


# ---- pixels


@answers("latents", "musetalk")
def encoded(case):
    crop = lanczos(case["crop_bgr"][None], (256, 256))
    yield "out.crop256_bgr", crop[0]
    musetalk = method(case)
    crops = crop.flip(3).permute(0, 3, 1, 2).contiguous()
    mean = musetalk._encoded(crops)
    yield "out.latents_mode", mean
    noise = [seeded.normals(f"in.noise_{name}", (1, 4, 32, 32), case.salt) for name in ("masked", "reference")]
    whole = (crops.float() / 255 - 0.5) / 0.5
    masked = torch.cat([whole[:, :, :128], torch.full_like(whole[:, :, 128:], -1)], dim=2)
    spread = [(musetalk.vae.codec.posterior(picture)[1] / 2).exp() for picture in (masked, whole)]
    yield "out.latents_sampled", mean + torch.cat(spread, dim=1) * torch.cat(noise, dim=1)


@answers("decode", "musetalk")
def decoded(case):
    yield "out.frames_bgr", method(case)._decoded(case["pred"]).permute(0, 2, 3, 1).flip(3)


# ---- boxes and masks


@answers("bbox", "musetalk")
def boxes(case):
    points, detected = case["landmarks"], case["detector_boxes"].long()
    nobody = (detected < 0).all(1, keepdim=True)
    for name in case.wanted:
        what, shift = re.fullmatch(r"out\.(boxes|range)_shift_(-?\d+)", name).groups()
        if what == "boxes":
            found = halved(points.roll(-BRIDGE, 1), detected, int(shift))
            yield name, torch.where(nobody, 0, found).int()
        else:
            yield name, hint(points)


def hint(points: Tensor) -> Tensor:
    """How far a box may be moved, which the original tells people, and ours does not."""
    rows = points.trunc()[..., 1]
    return torch.stack([(rows[:, 30] - rows[:, 29]).mean(), (rows[:, 29] - rows[:, 28]).mean()]).int()


@answers("parsing_modes", "musetalk")
def areas(case):
    labels = case["labels"][None]
    yield "out.kernel", kernel(CONE, 33)
    yield "out.cheek_kernel", kernel(LENS, 35)
    for name in ("raw", "neck"):
        yield f"out.{name}_bits", bits(masks(labels, name)[0])
    for name in case.wanted:
        if found := re.fullmatch(r"out\.jaw_(\d+)_(\d+)_bits", name):
            yield name, bits(masks(labels, "jaw", Cheeks(int(found[1]), int(found[2])))[0])


def kernel(halves: Sequence[int], width: int) -> Tensor:
    away = (torch.arange(width) - width // 2).abs()
    return (away <= torch.tensor(halves)[:, None]).byte()


@answers("parsing_WRONG_flipped_kernel", "musetalk")
def area_of_a_known_mistake(case):
    yield "out.jaw_90_90_bits", bits(masks(sibling(case, "parsing_modes")["labels"][None], "jaw")[0])


def bits(mask: Tensor) -> Tensor:
    return torch.from_numpy(np.packbits(mask.numpy(), axis=1))


BLURS = {"offline": 0.05, "realtime": 0.1}


@answers("blend", "musetalk")
def blends(case):
    labels = sibling(case, "parsing_modes")["labels"][None]
    for name in case.wanted:
        place, area, how = re.fullmatch(r"out\.(inside|over_edge)_(raw|jaw)_(\w+)", name).groups()
        box, mask = Box(*case.facts["boxes"][place]["box"]), masks(labels, area)[0]
        if how == "mask":
            yield name, (share(mask, box, Rim(blur=0.1), Square.around(box).box) * 255).round().byte()
            continue
        rim = Rim(1.3, 0.6) if how == "ratio06_expand13" else Rim(blur=BLURS[how])
        frame, weights = case["frame_bgr"].clone(), share(mask, box, rim)
        blended(frame, Patch(box, case["face_bgr"], weights), weights, 1.0, False)
        yield name, frame


# ---- whole inferences


@answers("e2e", "musetalk")
def whole(case):
    frames = torch.stack([case[f"frame{number}_bgr"] for number in range(len(case["landmarks"]))]).flip(3)
    labels = sibling(case, "parsing_modes")["labels"].long()
    picture = frames.shape[2], frames.shape[1]
    for name, facts in case.facts["versions"].items():
        version, kept = VERSIONS[name], facts["kept_frames"]
        found = halved(case["landmarks"].roll(-BRIDGE, 1), torch.zeros(len(frames), 4), facts["bbox_shift"])
        assert found.tolist() == facts["boxes"]
        found = padded(found, Pads(bottom=10 if version == "1.5" else 0), picture)
        nowhere = Track(np.zeros((0, 4)), np.zeros((0, 0, 2)), np.zeros(0), "none", picture, 25)
        faces = faces_of(nowhere, found, AREAS[version], lambda seen: F.one_hot(labels, LABELS).permute(2, 0, 1)[None])
        shown = np.arange(case.facts["frames"]) % (2 * len(frames))
        shown = np.minimum(shown, 2 * len(frames) - 1 - shown)  # both ends twice
        script, steps = Script(shown, np.ones(len(shown), np.float32)), []
        musetalk = method(case, version, at_once=1)
        chunks = redub(
            musetalk,
            (frames[place] for place in shown),
            faces,
            case["audio"],
            script,
            on_progress=lambda progress, steps=steps: steps.append(progress.estimate),
        )
        made = torch.cat([pasted(chunk, faces, script, Blend()) for chunk in chunks])
        yield f"out.{name}_pred", torch.cat(steps)[kept]
        yield f"out.{name}_frames_bgr", made[kept].flip(3)
