"""Run the project's code on recorded cases and, with --check, compare with what the original answered.

    python tests/parity.py CASES_DIR --out OUT_DIR [--check] [--only PATTERN ...]

CASES_DIR/index.json lists the cases; `in.*` tensors come from CASES_DIR/<case>.safetensors or are drawn by the recipe
in `drawn_inputs`. The answers are written to OUT_DIR/<case>.safetensors under the names that the index lists. Stored
answers are read by --check alone.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

if __package__ in (None, ""):
    sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

import seeded

from joyhallo.codec import AutoencoderCodec
from joyhallo.config import NetConfig, ScheduleConfig
from joyhallo.models.attention import Reading, SpatialBlock, Transformer
from joyhallo.models.audio_module import RegionGates, audio_module
from joyhallo.models.blocks import Resnet, TimeEmbedding
from joyhallo.models.conditioning import AudioProj, FaceLocator, ImageProj
from joyhallo.models.motion_module import MotionModule
from joyhallo.models.net import Net
from joyhallo.ops import TorchOps
from joyhallo.sampling import Portrait, Sampler, Settings, animate
from joyhallo.schedule import Schedule

# Greatest difference allowed, by case and by name of the answer: the tolerances of the golden data's README.
# Features passed on in half precision (`bank_fp16`) differ more: where two roundings disagree, so do the halves. The
# original on one thread differs from itself on two by 3e-5 there, and by ten times less elsewhere.
TOLERANCES = [
    ("(hallo_)?(full_)?step_?.*", ".*_bank_fp16", 1e-4),
    ("sample_.*", ".*_bank_fp16", 5e-4),
    ("mod_motion|mod_audio_.*|mod_spatial", ".*", 2e-5),
    ("mod_.*", ".*", 1e-5),
    (".*_banks|.*_blocks", ".*", 5e-5),
    (".*full_step.*", ".*noise_pred.*", 1e-4),
    (".*full_step.*", ".*noise_cfg", 3e-4),
    (".*full_step.*", ".*", 1e-5),
    ("(hallo_)?step_.*", ".*noise_cfg", 1e-4),
    ("(hallo_)?step_.*", ".*noise_pred.*", 3e-5),
    ("(hallo_)?step_.*", ".*", 1e-5),
    ("sample_.*", ".*video", 1e-4),
    ("sample_.*", ".*", 2e-4),
    ("chunks.*", ".*video", 2e-4),
    ("chunks.*", ".*", 5e-4),
    ("masks_.*", ".*", 0.0),
    ("wav2vec.*", ".*", 2e-5),
    ("e2e.*", ".*latents.*", 5e-4),
    ("scheduler", ".*timesteps.*", 0.0),
    ("scheduler", ".*alphas_cumprod|.*betas", 1e-7),
    ("scheduler", ".*", 1e-5),
]
MUST_DIFFER = {".*_WRONG_.*": 0.1}  # answers of a known mistake, which must not be ours

NOT_OURS = {  # answers of the original that we do not want
    "masks_.*_quirk_oversize": "the original loses a rectangle larger than the picture, ours is cut at its border",
}

KINDS: dict[str, Callable[[Case], Iterator[tuple[str, Tensor]]]] = {}


def answers(pattern: str):
    """Register a function that yields the answers of the cases whose name the pattern matches."""

    def register(function):
        KINDS[pattern] = function
        return function

    return register


class Unsupported(LookupError):
    """A case that is not answered, and why."""


class Case:
    def __init__(self, name: str, folder: Path, index: dict):
        self.name, self.folder, self.index = name, folder, index
        self.facts: dict = index["cases"][name]

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
        return {**drawn_inputs(self), **stored} if "px" in self.facts else stored

    @property
    def wanted(self) -> list[str] | None:
        tensors = self.facts.get("tensors")
        return None if tensors is None else [name for name in tensors if not name.startswith("in.")]

    @property
    def salt(self) -> str:
        return self.facts.get("salt", self.index.get("salt", ""))

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
                clip_frames=facts["frames"],
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


# ---- single modules


@answers("mod_audioproj")
def audioproj(case):
    x, facts = case["x"], case.facts["shapes"]
    _, _, window, layers, channels = x.shape
    hidden, width = facts["proj1.weight"][0], facts["norm.weight"][0]
    config = replace(
        NetConfig(),
        audio_window=window,
        audio_layers=layers,
        audio_channels=channels,
        audio_hidden=hidden,
        audio_width=width,
        audio_tokens=facts["proj3.weight"][0] // width,
    )
    yield "out.y", case.filled(AudioProj(config))(x.flatten(0, 1)).unflatten(0, x.shape[:2])


@answers("mod_imageproj")
def imageproj(case):
    facts = case.facts["shapes"]
    width = facts["norm.weight"][0]
    inputs, tokens = facts["proj.weight"][1], facts["proj.weight"][0] // width
    module = case.filled(ImageProj(replace(NetConfig(), face_dim=inputs, face_width=width, face_tokens=tokens)))
    yield "out.y", module(case["x"])
    yield "out.y_zero", module(torch.zeros_like(case["x"]))


@answers("mod_facelocator")
def face_locator(case):
    facts, x = case.facts["shapes"], case["x"]
    widths = [facts["conv_in.weight"][0]]
    widths += [facts[key][0] for key in sorted(facts) if re.fullmatch(r"blocks\.\d*[13579]\.weight", key)]
    out = facts["conv_out.weight"][0]
    config = replace(NetConfig(), channels=(out,) * 4, norm_groups=1, heads=1, locator_channels=tuple(widths))
    yield "out.y", frames_third(case.filled(FaceLocator(config))(frames_first(x)), len(x))


@answers("mod_time")
def time_embedding(case):
    width = case.facts["shapes"]["linear_1.weight"][1]
    module = case.filled(TimeEmbedding(replace(NetConfig(), channels=(width,) * 4), TorchOps))
    yield "out.proj", module.sinusoid(case["t"])
    yield "out.emb", module(case["t"], torch.float32)


@answers("mod_resnet")
def resnet(case):
    facts, x = case.facts["shapes"], case["x"]
    out, inputs = facts["conv1.weight"][:2]
    config = replace(NetConfig(), channels=(facts["time_emb_proj.weight"][1] // 4,) * 4, heads=1, norm_groups=32)
    module = case.filled(Resnet(inputs, out, config, TorchOps))
    time = nn.functional.silu(case["temb"]).repeat_interleave(x.shape[2], 0)
    yield "out.y", frames_third(module(frames_first(x), time), len(x))


@answers("mod_motion")
def motion_module(case):
    x = case["x"]
    positions = next(shape[1] for key, shape in case.facts["shapes"].items() if key.endswith(".pe"))
    heads = case.facts.get("heads", 8)
    module = case.filled(MotionModule(x.shape[1], replace(NetConfig(), heads=heads, positions=positions), TorchOps))
    nobody = x.new_zeros(len(x), 0, x[0, 0, 0].numel(), x.shape[1])
    yield "out.y", frames_third(module(frames_first(x), nobody), len(x))


@answers("mod_audio_(joyhallo|hallo).*")
def audio(case):
    facts, x, tokens = case.facts, case["x"], case["audio"]
    inner, channels = facts["shapes"]["proj_in.weight"][:2]
    regional = any(".attn2_1." in key for key in facts["shapes"])
    heads = facts.get("heads", 8)
    config = replace(NetConfig(), heads=heads, audio_width=tokens.shape[-1], regional_audio=regional)
    module = case.filled(audio_module(channels, inner, config, TorchOps))
    block = module.transformer_blocks[0]
    frames = x.shape[2]
    masks = torch.stack([case[f"{name}_mask"] for name in ("full", "face", "lip")], -1).unflatten(0, (-1, frames))

    def row(i: int, scale: Tensor) -> Tensor:
        # silence is not computed: the row of zero tokens must come out the same without them
        heard = block.listen(tokens[i]) if tokens[i].any() else []
        gates = RegionGates(masks[i] * scale, scale.expand(1, 1, 3))
        return module(frames_first(x[i : i + 1]), heard, block.fold(x), gates, frames)

    for name, scale in ("out.y", [1.0, 1.0, 1.0]), ("out.y_scaled", facts.get("motion_scale") or [1.0, 1.0, 1.0]):
        yield name, torch.stack([row(i, torch.tensor(scale)).transpose(0, 1) for i in range(len(x))])


@answers("mod_spatial")
def spatial(case):
    x, bank, face = case["x"], case["bank"], case["enc"]
    batch, channels, frames = x.shape[:3]
    heads = case.facts.get("heads", 8)
    config = replace(NetConfig(), heads=heads, face_width=face.shape[-1])
    module = case.filled(Transformer(channels, channels, SpatialBlock(channels, config, TorchOps), config, TorchOps))
    block = module.transformer_blocks[0]
    bank = bank.unflatten(0, (batch, -1))
    references, fold = block.attn1.keys_values(bank[:, 0]), block.attn2.fold(face)
    alone = Reading(slice(0, frames), None)

    def turns(first: int) -> list[Reading]:
        return [Reading(slice(first + f, batch * frames, batch), (first + f) % batch) for f in range(batch)]

    def run(readings: list[Reading]) -> Tensor:
        return frames_third(module(frames_first(x), fold, references, readings), batch)

    yield "out.y_cfg", run([alone, *turns(frames)])
    yield "out.y_nocfg", run(turns(0))
    yield "out.motion_frames", bank[:, 1:]


@answers("scheduler.*")
def scheduler(case):
    schedule = case.schedule()
    yield "out.alphas_cumprod", schedule.alphas_cumprod
    yield "out.betas", schedule.betas
    for count in (key.removeprefix("x.") for key in case.inputs if key.startswith("x.")):
        x, outputs = case[f"x.{count}"], case[f"model_output.{count}"]
        steps, chain = schedule.ddim(int(count)), []
        for step, v in zip(steps, outputs, strict=True):
            x = step.advance(x, v)
            chain.append(x)
        yield f"out.timesteps.{count}", torch.tensor([step.timestep for step in steps])
        yield f"out.x.{count}", torch.stack(chain)


# ---- one guided step


class HalfPrecisionFeatures(nn.Module):
    """The original passes reference features on in half precision, whatever it computes in."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, *inputs):
        return [features.half().float() for features in self.network(*inputs)]


def step_sampler(case: Case, half_features: bool = False, dtype: torch.dtype = torch.float32):
    net = WEIGHTS.net(case).to(dtype)
    if half_features:
        net.reference_unet = HalfPrecisionFeatures(net.reference_unet)
    latents = case["ref_latents"]
    settings = case.settings(guidance=2.0)  # both rows, whatever they are combined with
    sampler = Sampler(net, case.portrait(), latents[:1], settings, torch.device("cpu"), dtype)
    motion = sampler.motion_features(latents[1:]) if settings.motion_frames else None
    chunk = sampler.prepare_chunk(case["audio_emb"][0], 0, latents[1:] if settings.motion_frames else None)
    return net, sampler, chunk, motion


def step_rows(case: Case, sampler: Sampler, net: Net, chunk) -> Tensor:
    rows = sampler.rows(net.denoising_unet, frames_first(case["latents"]), case.facts["timestep"], chunk)
    return frames_third(torch.cat(rows), 2)


@answers("(hallo_)?(full_)?step(_[^_]+)?")
def step(case):
    net, sampler, chunk, _ = step_sampler(case)
    pred = step_rows(case, sampler, net, chunk)
    yield "out.noise_pred", pred
    yield "out.noise_cfg", pred[:1] + case.facts["cfg_scale"] * (pred[1:] - pred[:1])
    tokens = net.audioproj(case["audio_emb"][0])[None]
    yield "out.enc", sampler.face_tokens
    yield "out.audio_tokens", tokens
    yield "out.audio_tokens_first", tokens[:, :1]
    for name in "out.face_feature", "out.face_feature_first":
        yield name, sampler.clip.locator[1:, :, None]
    net, sampler, chunk, _ = step_sampler(case, half_features=True)
    yield "out.noise_pred_bank_fp16", step_rows(case, sampler, net, chunk)


@answers("(hallo_)?step(_[^_]+)?_WRONG_.*")
def step_of_a_known_mistake(case):
    case = case.parent()
    net, sampler, chunk, _ = step_sampler(case)
    yield "out.noise_pred", step_rows(case, sampler, net, chunk)


@answers("(hallo_)?step(_[^_]+)?_banks")
def banks(case):
    net, sampler, _, motion = step_sampler(case.parent())
    paths = {id(module): path for path, module in net.reference_unet.named_modules()}
    for site, transformer in enumerate(net.reference_unet.site_transformers()):
        bank = sampler.portrait_features[site][sampler.reference_tokens][:, None]
        if motion is not None:
            bank = torch.cat([bank, motion[site]], dim=1)
        yield paths[id(transformer.transformer_blocks[0])], bank.flatten(0, 1)


@answers("(hallo_)?step(_[^_]+)?_blocks")
def blocks(case):
    """What each block puts out, for finding where a mistake sits; in double precision.

    The recorded values are off from double precision by up to 3.5e-5 themselves, so an independent calculation in
    single precision would use up the tolerance by rounding alone.
    """
    first = next(iter(case.facts["tensors"].values()))[0][2]
    case = case.parent()
    net, sampler, chunk, _ = step_sampler(case, dtype=torch.float64)
    unet, seen = net.denoising_unet, {}
    last_layers = {"conv_in": unet.conv_in, "mid_block": unet.mid_block.resnets[-1]}
    for i, block in enumerate(unet.down_blocks):
        last_layers[f"down_blocks.{i}"] = block.downsamplers[0] if hasattr(block, "downsamplers") else block.resnets[-1]
    for i, block in enumerate(unet.up_blocks):
        last_layers[f"up_blocks.{i}"] = (
            block.upsamplers[0] if hasattr(block, "upsamplers") else block.motion_modules[-1]
        )
    for name, layer in last_layers.items():
        layer.register_forward_hook(lambda _, __, output, name=name: seen.__setitem__(name, output))
    step_rows(case, sampler, net, chunk)
    for name, output in seen.items():
        rows = 1 if name == "conv_in" else 2  # both rows start from the same latents
        yield name, frames_third(output.float(), rows)[:, :, :first].expand(2, -1, -1, -1, -1)


# ---- whole samplings


def sample_steps(case: Case, codec: AutoencoderCodec, half_features: bool = False):
    net = WEIGHTS.net(case)
    if half_features:
        net.reference_unet = HalfPrecisionFeatures(net.reference_unet)
    settings = case.settings()
    ref_latents = codec.encode(case["ref_image"][0])
    sampler = Sampler(net, case.portrait(), ref_latents[:1], settings, torch.device("cpu"), torch.float32)
    chunk = sampler.prepare_chunk(case["audio_emb"][0], 0, ref_latents[1:] if settings.motion_frames else None)
    chain, x = [], frames_first(case["latents"])
    for one in case.schedule().ddim(settings.steps):
        x = sampler.denoise(chunk, x, [one])
        chain.append(frames_third(x, 1))
    return ref_latents, chain


@answers(r"sample_[^_]+")
def sample(case):
    codec = case.codec()
    ref_latents, chain = sample_steps(case, codec)
    yield "out.ref_latents", ref_latents
    yield "out.latents_final", chain[-1]
    yield "out.latents_steps", torch.stack([chain[i] for i in case.facts.get("stored_step_indices", range(len(chain)))])
    yield "out.latents_final_bank_fp16", sample_steps(case, codec, half_features=True)[1][-1]


@answers(r"sample_[^_]+_video")
def sample_video(case):
    case = case.parent()
    codec = case.codec()
    _, chain = sample_steps(case, codec)
    yield "out.video", frames_third(codec.decode(frames_first(chain[-1])), 1)


class RecordingCodec:
    def __init__(self, codec: AutoencoderCodec):
        self.codec, self.encoded, self.decode = codec, [], codec.decode

    def encode(self, pixels: Tensor) -> Tensor:
        self.encoded.append(self.codec.encode(pixels))
        return self.encoded[-1]


def animated(case: Case):
    count = sum(key.startswith("latents.") for key in case.inputs)
    windows = torch.cat([case[f"audio_emb.{i}"][0] for i in range(count)])
    noise = [frames_first(case[f"latents.{i}"]) for i in range(count)]
    return animated_with(case, WEIGHTS.net(case), case.portrait(), windows, noise)


def animated_with(case: Case, net: Net, portrait: Portrait, windows, noise: list[Tensor], length: int | None = None):
    """Chunks, and what was encoded on the way: the portrait, then each later chunk's motion frames."""
    codec = RecordingCodec(case.codec())
    found = animate(net, codec, case.schedule(), portrait, windows, case.settings(), length=length, noise=noise)
    return list(found), codec.encoded


@answers("chunks[^_]*")
def chunks(case):
    found, (portrait, *motion) = animated(case)
    count = case.facts["n_motion"]
    for chunk in found:
        yield f"out.latents.{chunk.index}", frames_third(chunk.latents, 1)
        pictures = motion[chunk.index - 1] if chunk.index and count else portrait.expand(count, -1, -1, -1)
        yield f"out.ref_latents.{chunk.index}", torch.cat([portrait, pictures])


@answers(r"chunks[^_]*_video\d+")
def chunk_video(case):
    found, _ = animated(case.parent())
    yield "out.video", frames_third(found[int(re.findall(r"\d+$", case.name)[0])].frames, 1)


# ---- the cases of other modules, which register themselves with this one, not with a second copy named "parity"

sys.modules.setdefault("parity", sys.modules[__name__])
import parity_portrait  # noqa: E402, F401
import parity_speech  # noqa: E402, F401
import parity_whole  # noqa: E402, F401

# ---- the command


@torch.no_grad()
def run(case: Case) -> dict[str, Tensor]:
    for pattern, function in KINDS.items():
        if re.fullmatch(pattern, case.name):
            found = {name: tensor.contiguous().clone() for name, tensor in function(case)}
            if case.wanted is None:
                return found
            if missing := set(case.wanted) - set(found):
                raise KeyError(f"{case.name}: no answer for {sorted(missing)}")
            return {name: found[name] for name in case.wanted}
    reasons = [reason for pattern, reason in NOT_OURS.items() if re.fullmatch(pattern, case.name)]
    raise Unsupported(*reasons or ["no code answers this kind of case"])


def differences(case: Case, found: dict[str, Tensor]) -> Iterator[tuple[str, float, float, bool]]:
    """(answer, greatest difference, tolerance, whether it is right)"""
    differ = next((least for pattern, least in MUST_DIFFER.items() if re.fullmatch(pattern, case.name)), None)
    with safe_open(case.folder / case.facts["file"], "pt") as stored:
        for name, tensor in found.items():
            expected = stored.get_tensor(name)
            if tensor.shape != expected.shape:
                yield name, float("inf"), 0.0, False
                continue
            off = (tensor.double() - expected.double()).abs().max().item()
            if tensor.dtype == torch.uint8 and case.name.startswith("e2e"):  # frames: a level here and there
                share = (tensor != expected).double().mean().item()
                yield f"{name} (share of differing values)", share, 0.005, share < 0.005
                yield name, off, 1.0, off <= 1
                continue
            if differ is not None:
                yield name, off, differ, off > differ
                continue
            allowed = next(t for c, n, t in TOLERANCES if re.fullmatch(c, case.name) and re.fullmatch(n, name))
            yield name, off, allowed, off <= allowed


def cases(folder: Path, patterns: list[str] | None = None) -> list[Case]:
    index = json.loads((folder / "index.json").read_text())
    wanted = patterns or ["*"]
    return [Case(name, folder, index) for name in index["cases"] if any(fnmatch.fnmatch(name, p) for p in wanted)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--check", action="store_true", help="compare with the stored answers")
    parser.add_argument("--only", nargs="*", metavar="PATTERN", help="names of cases, with * and ?")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    missed = 0
    for case in cases(arguments.cases, arguments.only):
        try:
            found = run(case)
        except Unsupported as reason:
            print(f"{case.name}: skipped, {reason}")
            continue
        save_file(found, arguments.out / f"{case.name}.safetensors")
        if not arguments.check:
            print(f"{case.name}: {len(found)} answers written")
            continue
        for name, off, allowed, right in differences(case, found):
            missed += not right
            print(f"{case.name} {name}: {off:.2e} (allowed {allowed:.0e}){'' if right else '  WRONG'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
