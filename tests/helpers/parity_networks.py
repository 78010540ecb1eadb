"""The recorded cases of the networks: single modules, guided steps, whole samplings."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache

import torch
from cases import WEIGHTS, Case, animated_with, answers, frames_first, frames_third
from torch import Tensor, nn

from joyhallo.diffusion.networks.attention import Transformer
from joyhallo.diffusion.networks.blocks import Resnet, TimeEmbedding
from joyhallo.diffusion.networks.motion_module import MotionModule
from joyhallo.methods.hallo.config import NetConfig
from joyhallo.methods.hallo.networks.attention import Reading, SpatialBlock
from joyhallo.methods.hallo.networks.audio_module import RegionGates, audio_module
from joyhallo.methods.hallo.networks.conditioning import AudioProj, FaceLocator, ImageProj
from joyhallo.methods.hallo.networks.net import Net
from joyhallo.methods.hallo.sampling import Sampler, Stage
from joyhallo.ops import TorchOps

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
    module = case.filled(
        Transformer(channels, channels, SpatialBlock(channels, config, TorchOps), config.norm_groups, TorchOps)
    )
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


def step_sampler(
    case: Case, half_features: bool = False, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
):
    net = WEIGHTS.net(case).to(device, dtype)
    if half_features:
        net.reference_unet = HalfPrecisionFeatures(net.reference_unet)
    latents = case["ref_latents"]
    settings = case.settings(guidance=2.0)  # both rows, whatever they are combined with
    sampler = Sampler(net, case.portrait(), latents[:1], settings, torch.device(device), dtype)
    motion = sampler.motion_features(latents[1:]) if settings.motion_frames else None
    chunk = sampler.prepare_chunk(case["audio_emb"][0], 0, latents[1:] if settings.motion_frames else None)
    return net, sampler, chunk, motion


def step_rows(case: Case, sampler: Sampler, net: Net, chunk) -> Tensor:
    rows, _ = sampler.rows(net.denoising_unet, frames_first(case["latents"]), case.facts["timestep"], chunk, Stage())
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


@lru_cache(maxsize=2)
def sample_steps(case: Case, half_features: bool = False):
    """Kept for the case that asks for the video of the same sampling."""
    net = WEIGHTS.net(case)
    if half_features:
        net.reference_unet = HalfPrecisionFeatures(net.reference_unet)
    settings = case.settings()
    ref_latents = case.codec().encode(case["ref_image"][0])
    sampler = Sampler(net, case.portrait(), ref_latents[:1], settings, torch.device("cpu"), torch.float32)
    chunk = sampler.prepare_chunk(case["audio_emb"][0], 0, ref_latents[1:] if settings.motion_frames else None)
    chain, x = [], frames_first(case["latents"])
    for one in case.schedule().ddim(settings.steps):
        x = sampler.denoise(chunk, x, [one])
        chain.append(frames_third(x, 1))
    return ref_latents, chain


@answers(r"sample_[^_]+")
def sample(case):
    ref_latents, chain = sample_steps(case)
    yield "out.ref_latents", ref_latents
    yield "out.latents_final", chain[-1]
    yield "out.latents_steps", torch.stack([chain[i] for i in case.facts.get("stored_step_indices", range(len(chain)))])
    yield "out.latents_final_bank_fp16", sample_steps(case, half_features=True)[1][-1]


@answers(r"sample_[^_]+_video")
def sample_video(case):
    case = case.parent()
    _, chain = sample_steps(case)
    yield "out.video", frames_third(case.codec().decode(frames_first(chain[-1])), 1)


@lru_cache(maxsize=1)
def animated(case: Case):
    """Kept for the cases that ask for the videos of the same chunks."""
    count = sum(key.startswith("latents.") for key in case.inputs)
    windows = torch.cat([case[f"audio_emb.{i}"][0] for i in range(count)])
    noise = [frames_first(case[f"latents.{i}"]) for i in range(count)]
    return animated_with(case, WEIGHTS.net(case), case.portrait(), windows, noise)


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
