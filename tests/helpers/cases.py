"""Recorded cases: what they say of themselves, the networks they need, and who answers them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import seeded
import torch
from safetensors import safe_open
from shared import shared_folder
from torch import Tensor, nn

from joyhallo.diffusion.codec import AutoencoderCodec
from joyhallo.diffusion.schedule import Schedule, ScheduleConfig
from joyhallo.files.norms import COUNTER
from joyhallo.methods.hallo.config import NetConfig
from joyhallo.methods.hallo.networks.net import Net
from joyhallo.methods.hallo.sampling import Portrait, Settings, animate

NOT_OURS = {  # by method: answers of the original that we do not want, or do not have
    "hallo": {
        "masks_.*_quirk_oversize": "the original loses a rectangle larger than the picture, ours is cut at its border",
    },
    "wav2lip": {"step_.*|item_.*|windows|disc": "Wav2Lip cannot be trained here yet"},
    "latentsync": {"train_step": "LatentSync cannot be trained here yet"},
    "musetalk": {
        "whisper_long": "its sound is neither stored nor told",
        "cycle": "a film that bounces shows neither end twice, whatever the method",
    },
    "ultralight": {},
    "metrics": {},
}

KINDS: dict[str, dict[str, Callable[[Case], Iterator[tuple[str, Tensor]]]]] = {method: {} for method in NOT_OURS}


def answers(pattern: str, method: str = "hallo"):
    """Register a function that yields the answers of the method's cases whose name the pattern matches."""

    def register(function):
        KINDS[method][pattern] = function
        return function

    return register


SIGNS = {"_whisper": "latentsync", "whisper_tiny_config": "musetalk"}  # in an index
METRICS = {"mfcc", "distance", "flicker", "fid"}  # cases that no other set has
SALTS = {"latentsync": "latentsync/"}


def told_of(index: dict) -> dict[str, dict]:
    """The cases; LatentSync's lie in the index itself, beside what begins with _."""
    return index.get("cases") or {name: facts for name, facts in index.items() if not name.startswith("_")}


class Unsupported(LookupError):
    """A case that is not answered, and why."""


class Case:
    def __init__(self, name: str, folder: Path, index: dict):
        self.name, self.folder, self.index = name, folder, index
        self.facts: dict = told_of(index)[name]

    @property
    def method(self) -> str:
        """A set of cases is of one method, told by what its index or its folder holds."""
        if (self.folder / "bn_wav2lip.safetensors").exists():
            return "wav2lip"
        if "forward_hubert" in told_of(self.index):
            return "ultralight"
        if METRICS & told_of(self.index).keys():
            return "metrics"
        return next((method for sign, method in SIGNS.items() if sign in self.index), "hallo")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Case) and (self.folder, self.name) == (other.folder, other.name)

    def __hash__(self) -> int:
        return hash((self.folder, self.name))

    def __getitem__(self, key: str) -> Tensor:
        return self.inputs[key]

    @cached_property
    def inputs(self) -> dict[str, Tensor]:
        file = self.folder / self.facts.get("file", f"{self.name}.safetensors")
        stored: dict[str, Tensor] = {}
        if file.exists():
            with safe_open(file, "pt") as tensors:
                stored = {
                    key.removeprefix("in."): tensors.get_tensor(key) for key in tensors.keys() if key.startswith("in.")
                }
        return {**drawn_inputs(self), **stored} if "n_motion" in self.facts else stored

    @property
    def wanted(self) -> list[str] | None:
        tensors = self.facts.get("tensors")
        return None if tensors is None else [name for name in tensors if not name.startswith("in.")]

    @property
    def salt(self) -> str:
        return self.facts.get("salt", self.index.get("salt", SALTS.get(self.method, "")))

    @property
    def sizes(self) -> dict:
        config = self.facts.get("config", "tiny_config")
        return config if isinstance(config, dict) else self.index[config]

    @property
    def config(self) -> NetConfig:
        sizes = self.sizes
        return NetConfig(
            channels=tuple(sizes["block_out_channels"]),
            layers=sizes["layers_per_block"],
            heads=sizes["attention_head_dim"],
            norm_groups=sizes["norm_num_groups"],
            face_dim=sizes["face_dim"],
            face_tokens=sizes["image_tokens"],
            face_width=sizes["cross_attention_dim"],
            audio_layers=sizes["audio_blocks"],
            audio_channels=sizes["audio_channels"],
            audio_hidden=sizes["audio_intermediate"],
            audio_tokens=sizes["context_tokens"],
            audio_width=sizes["audio_attention_dim"],
            positions=sizes["pe_max_len"],
            regional_audio="hallo" in (self.facts.get("model"), self.name.split("_")[-1]),
        )

    def parent(self) -> Case:
        return Case(self.facts["parent"], self.folder, self.index)

    def filled(self, module: nn.Module) -> nn.Module:
        return seeded.fill(module, self.facts.get("prefix", ""), self.salt)

    def settings(self, **changes) -> Settings:
        facts = self.facts
        return replace(
            Settings(
                steps=facts.get("steps", 1),
                guidance=facts.get("cfg_scale", 3.5),
                weights=facts.get("motion_scale") or (1.0, 1.0, 1.0),
                chunk_frames=facts["frames"],
                motion_frames=facts["n_motion"],
            ),
            **changes,
        )

    def schedule(self) -> Schedule:
        facts = self.facts.get("kwargs", self.index.get("scheduler", {}))
        return Schedule(
            ScheduleConfig(
                facts.get("num_train_timesteps", 1000),
                facts.get("beta_start", 0.00085),
                facts.get("beta_end", 0.012),
                facts.get("beta_schedule", "linear"),
                facts.get("rescale_betas_zero_snr", True),
            )
        )

    def portrait(self) -> Portrait:
        """The picture is the reference image where the case has one, else only its size matters."""
        locator, levels = self["face_mask"][0], range(self.config.levels)
        picture = self["ref_image"][0, 0] if "ref_image" in self.inputs else torch.zeros_like(locator)
        masks = [torch.cat([self[f"{region}_mask_{level}"] for region in ("full", "face", "lip")]) for level in levels]
        return Portrait(picture, self["face_emb"].reshape(-1), locator, masks)

    def codec(self) -> AutoencoderCodec:
        from diffusers import AutoencoderKL

        config = self.facts["vae"]
        config = config if isinstance(config, dict) else self.index[config]
        with torch.device("meta"):
            autoencoder = AutoencoderKL.from_config(config)
        return AutoencoderCodec(seeded.fill(autoencoder, "vae.", self.salt))


def drawn_inputs(case: Case) -> dict[str, Tensor]:
    """The recipe of the golden data for cases that store no inputs. Nothing is drawn until asked for by name."""
    px, frames, motion = (case.facts[key] for key in ("px", "frames", "n_motion"))
    side, sizes = px // 8, case.sizes

    def draw(name: str, *shape: int) -> Tensor:
        return seeded.normals(f"in.{name}", shape, case.salt)

    inputs = {
        "face_emb": draw("face_emb", 1, sizes["face_dim"]),
        "face_mask": (draw("face_mask", 1, 3, px, px) > 0).float(),
        "audio_emb": draw("audio_emb", 1, frames, 5, sizes["audio_blocks"], sizes["audio_channels"]),
        "latents": draw("latents", 1, 4, frames, side, side),
    }
    if case.facts.get("vae") is None:
        inputs["ref_latents"] = draw("ref_latents", 1 + motion, 4, side, side)
    else:
        inputs["ref_image"] = (0.5 * draw("ref_image", 1, 1 + motion, 3, px, px)).clamp(-1, 1)
    for region in ("full", "face", "lip"):
        for level in range(len(sizes["block_out_channels"])):
            mask = draw(f"{region}_mask_{level}", 1, (side >> level) ** 2)
            inputs[f"{region}_mask_{level}"] = torch.sigmoid(2 * mask)
    return inputs


def weights_with_norms(case: Case, manifest: str) -> dict[str, Tensor]:
    """Drawn for a published list of keys, BatchNorms among them, without their counters."""
    folder = shared_folder()
    if folder is None:
        raise Unsupported("the lists of published keys are not here (../shared/manifests)")
    listed = json.loads((folder / "manifests" / f"manifest_{manifest}.json").read_text())
    shapes = {key: told["shape"] for key, told in listed.items() if not key.endswith(COUNTER)}
    weights = seeded.weights(shapes, case.facts["prefix"], case.salt)
    for key, shape in shapes.items():
        if key.endswith(".running_var"):
            weights[key] = (1 + 0.1 * seeded.normals(case.facts["prefix"] + key, shape, case.salt)).abs()
    checked(case, weights)
    return weights


def checked(case: Case, weights: dict[str, Tensor]) -> None:
    """A mistake in the recipe would look like one in the network, so what the index tells of the weights is checked."""
    total = sum(tensor.double().abs().sum().item() for tensor in weights.values())
    assert math.isclose(total, case.facts["weights_digest"]["abs_sum"], rel_tol=1e-6), "other weights than recorded"


class _Weights:
    """Seeded networks, built once while the same weights are asked for in a row."""

    def __init__(self):
        self.salt: str | None = None
        self.tensors: dict[tuple[str, torch.Size], Tensor] = {}

    def net(self, case: Case) -> Net:
        if self.salt != case.salt:
            self.salt, self.tensors = case.salt, {}
        with torch.device("meta"):
            net = Net(case.config)
        shapes = {key: tensor.shape for key, tensor in net.state_dict().items()}
        missing = {key: shape for key, shape in shapes.items() if (key, shape) not in self.tensors}
        if len(missing) == len(shapes):
            self.tensors = {}
        drawn = seeded.weights(missing, salt=case.salt)
        self.tensors |= {(key, tensor.shape): tensor for key, tensor in drawn.items()}
        net.load_state_dict({key: self.tensors[key, shape] for key, shape in shapes.items()}, assign=True)
        return net.requires_grad_(False)


WEIGHTS = _Weights()


def frames_first(clip: Tensor) -> Tensor:
    """(batch, channels, frames, ...) -> (batch * frames, channels, ...)"""
    return clip.transpose(1, 2).flatten(0, 1)


def frames_third(frames: Tensor, batch: int) -> Tensor:
    return frames.unflatten(0, (batch, -1)).transpose(1, 2)


class RecordingCodec:
    def __init__(self, codec: AutoencoderCodec):
        self.codec, self.encoded, self.decode = codec, [], codec.decode

    def encode(self, pixels: Tensor) -> Tensor:
        self.encoded.append(self.codec.encode(pixels))
        return self.encoded[-1]


def animated_with(case: Case, net: Net, portrait: Portrait, windows, noise: list[Tensor], length: int | None = None):
    """Chunks, and what was encoded on the way: the portrait, then each later chunk's motion frames."""
    codec = RecordingCodec(case.codec())
    found = animate(net, codec, case.schedule(), portrait, windows, case.settings(), length=length, noise=noise)
    return list(found), codec.encoded
