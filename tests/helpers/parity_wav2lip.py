"""The recorded cases of Wav2Lip: its mel, boxes and pixels, its networks, and whole inferences in the original's order.

Pictures are B, G, R there; boxes are top, bottom, left, right, except a detector's, which are left, top, right, bottom.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path

import seeded
import torch
from boxed_frames import cut, pasted
from cases import Case, answers
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from joyhallo.faces.rescale import rescale
from joyhallo.files.checkpoint import Checkpoint
from joyhallo.methods.wav2lip.boxes import Pads, padded, smoothed
from joyhallo.methods.wav2lip.checkpoint import published, without_norms
from joyhallo.methods.wav2lip.expert import Expert, agreement
from joyhallo.methods.wav2lip.network import Generator
from joyhallo.methods.wav2lip.pixels import as_crops, inputs
from joyhallo.sound.mel import COLUMNS, basis, listen, mel, windows

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "wav2lip": partial(Generator, 96),
    "wav2lip256": partial(Generator, 256),
    "expert": Expert,
}
TAPS = 256  # values stored of each block


def state_of(name: str, salt: str, folder: Path) -> dict[str, Tensor]:
    """The weights of the recipe; a BatchNorm's statistics are stored, as drawn ones would let layers die."""
    shapes = published(NETWORKS[name])
    drawn = {key: shape for key, shape in shapes.items() if ".running_" not in key}
    state = seeded.weights(drawn, prefix=f"{name}.", salt=salt)
    for key, tensor in state.items():
        if tensor.ndim >= 2:
            tensor *= 2 if key == "output_block.1.weight" else math.sqrt(2)
    stored = load_file(folder / f"bn_{name}.safetensors")
    return state | {key: stored[key] for key in shapes.keys() - drawn.keys()}


@lru_cache(maxsize=1)
def network(name: str, salt: str, folder: Path):
    return Checkpoint(NETWORKS[name], state_of(name, salt, folder), without_norms).build()


def network_of(case: Case, name: str):
    """A mistake in the recipe would look like one in the network, so what the index tells of the weights is checked."""
    told = case.facts.get("weights")
    if told is not None:
        total = sum(t.double().abs().sum().item() for t in state_of(name, case.salt, case.folder).values())
        assert math.isclose(total, told["abs_sum"], rel_tol=1e-6), f"{name}: the weights are not those of the recording"
    return network(name, case.salt, case.folder)


def sibling(case: Case, name: str) -> Case:
    return Case(name, case.folder, case.index)


def shape_of(case: Case, name: str) -> list[int]:
    return case.facts["tensors"][name][0]


def corners(boxes: Tensor) -> Tensor:
    """left, top, right, bottom -> top, bottom, left, right"""
    return boxes[:, [1, 3, 0, 2]].int()


# ---- sound


@answers("mel_basis", "wav2lip")
def filters(case):
    yield "out.basis", basis()


@answers("mel_WRONG_.*", "wav2lip")
def spectrum_of_a_known_mistake(case):
    found = mel(sibling(case, case.facts["of"])["wav"])
    yield "out.mel_first4", found[:, :4]
    yield "out.mel_last4", found[:, -4:]


@answers("mel_.*", "wav2lip")
def spectrum(case):
    yield "out.mel", mel(case["wav"])


@answers("chunks", "wav2lip")
def chunks(case):
    for name in case.wanted:
        rate, columns = re.fullmatch(r"out\.start\.(.+)\.T(\d+)", name).groups()
        yield name, windows(torch.zeros(80, int(columns)), float(rate)).starts.int()


# ---- boxes and pixels


@answers("boxes", "wav2lip")
def boxes(case):
    height, width = map(int, re.search(r"frame (\d+) x (\d+)", case.facts["note"]).groups())
    for name, options in case.facts["cases"].items():
        wide = padded(case[f"rects.{name.rpartition('.')[2]}"], Pads(*options["pads"]), (width, height))
        yield f"out.{name}", corners(smoothed(wide, "none" if options["nosmooth"] else "original"))
    for name in case.wanted:
        if "WRONG" in name:
            wide = padded(case[f"rects.{name.rpartition('.')[2]}"], Pads(), (width, height))
            yield name, corners(smoothed(wide))


@answers("inputs", "wav2lip")
def network_inputs(case):
    frames, spectrum, size = case["frames"].flip(3), case["mel"], shape_of(case, "out.img_whole")[-1]
    count, step = shape_of(case, "out.mel")[0], int(re.search(r"start at (\d+) i", case.facts["note"])[1])
    shown = torch.arange(count) % len(frames)
    wide = padded(case["rects"], Pads(), (frames.shape[2], frames.shape[1]))[shown]
    images = (inputs(cut(frames[shown], wide, size)) * 255).round().to(torch.uint8)
    yield "out.img_whole", images[:, 3:]
    yield "out.img_masked_s4", images[:, :3, ::4, ::4]
    columns = step * torch.arange(count)[:, None] + torch.arange(COLUMNS)
    yield "out.mel", spectrum[:, columns].transpose(0, 1)[:, None]
    yield "out.coords", corners(wide)


# ---- networks


@answers("generator", "wav2lip")
def generator(case):
    net, taps = network_of(case, "wav2lip"), {}

    def tap(name):
        def keep(_, __, output):
            step = 1 if name == "audio" else output[0].numel() // TAPS
            taps[name] = output.flatten(1)[:, ::step][:, : shape_of(case, f"out.{name}")[1]].clone()

        return keep

    places = {"audio": net.audio_encoder}
    places |= {f"enc{i}": block for i, block in enumerate(net.face_encoder_blocks)}
    places |= {f"dec{i}": block for i, block in enumerate(net.face_decoder_blocks)}
    hooks = [block.register_forward_hook(tap(name)) for name, block in places.items()]
    made = net(case["mel"], inputs(case["faces"].flip(3)))
    for hook in hooks:
        hook.remove()
    yield "out.pred", made[: shape_of(case, "out.pred")[0]]
    yield from ((f"out.{name}", values) for name, values in taps.items())


@answers("generator_WRONG_.*", "wav2lip")
def generator_of_a_known_mistake(case):
    right = sibling(case, case.name.partition("_WRONG_")[0])
    yield "out.pred_s4", network_of(right, "wav2lip")(right["mel"], inputs(right["faces"].flip(3)))[..., ::4, ::4]


@answers("generator_5d", "wav2lip")
def generator_of_clips(case):
    faces, heard = case["faces"], case["mel"]
    made = network_of(case, "wav2lip")(heard.flatten(0, 1), inputs(faces.flatten(0, 1).flip(3)))
    yield "out.pred_s4", made.unflatten(0, faces.shape[:2]).transpose(1, 2)[..., ::4, ::4]


@answers("wav2lip256", "wav2lip")
def larger_generator(case):
    made = network_of(case, "wav2lip256")(case["mel"], inputs(case["faces"].flip(3)))
    yield "out.pred_s3", made[..., ::3, ::3]
    yield "out.mean", made.mean((2, 3))


@answers("expert", "wav2lip")
def expert(case):
    heard, shown = network_of(case, "expert")(case["mel"], case["windows"].float() / 255)
    yield "out.audio", heard
    yield "out.face", shown
    cosine = agreement(heard, shown)
    yield "out.cos", cosine
    for name, truth in ("out.loss", case["y"][:, 0]), ("out.loss_ones", torch.ones_like(cosine)):
        yield name, F.binary_cross_entropy(cosine.clamp(0, 1), truth)[None]


# ---- whole inferences


@lru_cache(maxsize=1)
def inference(case: Case) -> Tensor:
    """Resize, crop, cut to the windows, pads, smoothing; then crops, network, paste.

    Kept for the case that asks for the same with a mistake in it.
    """
    options, facts = case.facts.get("options", {}), case.facts
    source = next(one for one in (case, *inferences(case)) if "in.frames" in one.facts["tensors"])
    frames, rects = source["frames"][: facts["frames"]].flip(3), source["rects"][: facts["frames"]]
    if factor := options.get("resize_factor"):
        frames = frames.repeat_interleave(factor, 1).repeat_interleave(factor, 2)  # as the case wants it
        frames = rescale(frames, (frames.shape[2] // factor, frames.shape[1] // factor))
    top, bottom, left, right = (None if side == -1 else side for side in options.get("crop", [0, -1, 0, -1]))
    frames = frames[:, top:bottom, left:right]

    heard = listen(source["wav"][: facts["samples"]], options.get("fps", 25.0))
    frames, rects = frames[: len(heard)], rects[: len(heard)]
    if options.get("image") or options.get("static"):
        frames, rects = frames[:1], rects[:1]
    if "box" in options:
        top, bottom, left, right = options["box"]
        found = torch.tensor([[left, top, right, bottom]]).expand(len(frames), -1)
    else:
        found = padded(rects, Pads(*options.get("pads", Pads())), (frames.shape[2], frames.shape[1]))
        found = smoothed(found, "none" if options.get("nosmooth") else "original")
    return spoken(network("wav2lip", case.salt, case.folder), frames, found, heard, options.get("batch", 128)).flip(3)


def inferences(case: Case) -> list[Case]:
    """One of them stores the frames, boxes and sound of all."""
    return [sibling(case, name) for name in case.index["cases"] if name.startswith("e2e_")]


def spoken(net: Generator, frames: Tensor, boxes: Tensor, heard, batch: int) -> Tensor:
    """The frames start over where there are too few."""
    made = []
    for start in range(0, len(heard), batch):
        window = heard[start : start + batch]
        shown = torch.arange(start, start + len(window)) % len(frames)
        crops = inputs(cut(frames[shown], boxes[shown], net.size))
        made.append(pasted(frames[shown], boxes[shown], as_crops(net(window[:, None], crops))))
    return torch.cat(made)


@answers("e2e_.*_WRONG_.*", "wav2lip")
def inference_of_a_known_mistake(case):
    right = inference(sibling(case, case.name.partition("_WRONG_")[0]))
    yield "out.frames", right[: shape_of(case, "out.frames")[0]]


@answers("e2e_.*", "wav2lip")
def whole(case):
    yield "out.frames", inference(case)
