"""The recorded cases of LatentSync: its network, sampling, alignment and masks, and whole inferences.

Maps are (rows, channels, frames, height, width) there.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from functools import lru_cache

import numpy as np
import seeded
import torch
from cases import Case, answers, frames_first, frames_third
from parity_whisper import of_latentsync, wave
from torch import Tensor, nn
from torch.nn import functional as F

from joyhallo.diffusion.codec import AutoencoderCodec
from joyhallo.diffusion.networks.motion_module import MotionModule
from joyhallo.faces.blend import Blend, blended
from joyhallo.methods.latentsync.alignment import KEPT, aligned, fitted, lagging
from joyhallo.methods.latentsync.crops import Faces
from joyhallo.methods.latentsync.masks import in_latents, mask
from joyhallo.methods.latentsync.method import LatentSync
from joyhallo.methods.latentsync.network import FRAMES, Resnet, Sizes, SoundTransformer, UNet
from joyhallo.methods.latentsync.sampling import Leading, Settings, denoise, guided, shared_noise
from joyhallo.methods.redub import Wishes, placed, redub
from joyhallo.methods.script import Script
from joyhallo.ops import TorchOps
from joyhallo.sound.audio import Recording
from joyhallo.sound.whisper import LATENTSYNC, hear

KEYS = {1246: "everywhere", 1022: "up", 686: "nowhere"}


def checked(case: Case, told: str, weights: dict[str, Tensor]) -> None:
    """A mistake in the recipe would look like one in the network, so what the index tells of the weights is checked."""
    total = sum(tensor.double().abs().sum().item() for tensor in weights.values())
    assert math.isclose(total, case.index[told]["abs_sum"], rel_tol=1e-6), "other weights than recorded"


def sizes_of(case: Case, motion: str = "everywhere") -> Sizes:
    told = case.index["_configs"]["unet_tiny"]
    return Sizes(
        tuple(told["block_out_channels"]),
        told["layers_per_block"],
        told["cross_attention_dim"],
        motion,
        told["motion_module_kwargs"]["temporal_position_encoding_max_len"],
        told["attention_head_dim"],
        told["norm_num_groups"],
    )


@lru_cache(maxsize=2)
def unet_of(case: Case, keys: int) -> UNet:
    with torch.device("meta"):
        net = UNet(sizes_of(case, KEYS[keys]))
    seeded.fill(net, "", case.salt)
    state = net.state_dict()
    assert len(state) == keys
    if keys == 1246:
        checked(case, "_weights_digest_unet", state)
    return net


def unet(case: Case, keys: int = 1246) -> UNet:
    return unet_of(sibling(case, "step_a"), keys)


@lru_cache(maxsize=1)
def vae_of(case: Case) -> AutoencoderCodec:
    from diffusers import AutoencoderKL

    with torch.device("meta"):
        autoencoder = AutoencoderKL.from_config(case.index["_configs"]["vae_tiny"])
    seeded.fill(autoencoder, "vae.", case.salt)
    checked(case, "_weights_digest_vae", autoencoder.state_dict())
    return AutoencoderCodec(autoencoder)


def sibling(case: Case, name: str) -> Case:
    return Case(name, case.folder, case.index)


def module(case: Case, make) -> nn.Module:
    with torch.device("meta"):
        made = make()
    found = {key: list(tensor.shape) for key, tensor in made.state_dict().items()}
    assert found == case.facts["shapes"]
    return seeded.fill(made, case.facts["prefix"], case.salt)


# ---- modules


@answers("mod_motion", "latentsync")
def motion(case):
    x = case["x"]
    net = module(case, lambda: MotionModule(x.shape[1], sizes_of(case), TorchOps))
    y = net(frames_first(x), x.new_zeros(len(x), 0, x.shape[3] * x.shape[4], x.shape[1]))
    yield "out.y", frames_third(y, len(x))


@answers("mod_spatial", "latentsync")
def spatial(case):
    x, sound = case["x"], case["audio"]
    net = module(case, lambda: SoundTransformer(x.shape[1], sizes_of(case), TorchOps))
    block, tokens, silent = net.block, case["tokens"], len(sound) // 2
    assert not sound[:silent].any()
    heard = block.heard(tokens[silent:], block.attn2.keys_values(sound[silent:]))
    yield "out.attn2", torch.cat([block.silence(tokens).expand_as(tokens[:silent]), heard])
    maps = frames_first(x)
    rows = maps[:silent], maps[silent:]
    made = [net.hear(net.look(row), row, [heard]) for row, heard in zip(rows, heard_by(block, sound), strict=True)]
    yield "out.y", frames_third(torch.cat(made), len(x))


def heard_by(block, sound: Tensor) -> list:
    return [None, block.attn2.keys_values(sound[len(sound) // 2 :])]


@answers("mod_resnet.*", "latentsync")
def residual(case):
    right = sibling(case, "mod_resnet")
    x, time = right["x"], F.silu(right["temb"])
    net = module(right, lambda: Resnet(64, 32, sizes_of(case), TorchOps))
    made = [net(row.transpose(0, 1), moment[None]) for row, moment in zip(x, time, strict=True)]
    yield "out.y", torch.stack(made).transpose(1, 2)


# ---- one step


def given(case: Case) -> Tensor:
    """Mask, masked and whole faces: (frames, 9, height, width)"""
    return frames_first(torch.cat([case[name] for name in ("mask", "masked", "ref")], dim=1))


def predicted(case: Case, net: UNet, source: Case) -> Tensor:
    """(rows, frames, 4, height, width)"""
    seen = torch.cat([frames_first(source["noise"]), given(source)], dim=1)
    timestep = torch.tensor([source.facts["timestep"]])
    return net(seen, timestep, [None, net.listen(source["audio"])]).noise


def as_recorded(frames: Tensor) -> Tensor:
    return frames.transpose(-4, -3)


@answers("step_(a|b|efficient|stage1)", "latentsync")
def one_step(case):
    source = sibling(case, "step_efficient") if case.name == "step_stage1" else case
    found = predicted(case, unet(case, case.facts.get("keys", 1246)), source)
    yield "out.noise_pred", as_recorded(found)
    if "out.next" in case.facts["tensors"]:
        facts, x = case.facts, frames_first(case["noise"])
        noise = guided(found, facts["guidance"])
        yield "out.noise_cfg", as_recorded(noise)[None]
        step = next(one for one in Leading().ddim(facts["steps"]) if one.timestep == facts["timestep"])
        yield "out.next", as_recorded(step.advance(x, step.velocity_of(noise, x)))[None]


@answers("step_a_blocks", "latentsync")
def blocks(case):
    source = sibling(case, "step_a")
    net, taps = unet(case), {}
    places = {"conv_in": net.conv_in, "mid": net.mid_block.resnets[-1]}
    walked = {f"down{i}": block for i, block in enumerate(net.down_blocks)}
    walked |= {f"up{i}": block for i, block in enumerate(net.up_blocks)}
    for name, block in walked.items():
        parts = [getattr(block, part)[-1] for part in ("downsamplers", "upsamplers") if hasattr(block, part)]
        places[name] = parts[0] if parts else block.motion_modules[-1]

    def tap(name):
        return lambda _, __, output: taps.setdefault(name, []).append(output)

    hooks = [part.register_forward_hook(tap(name)) for name, part in places.items()]
    predicted(case, net, source)
    for hook in hooks:
        hook.remove()
    for name in case.wanted:
        rows = torch.cat(taps[name.removeprefix("out.")]).unflatten(0, (-1, len(given(source))))
        yield name, rows[:, :2].transpose(1, 2).expand(2, -1, -1, -1, -1)  # the first convolution is of both


@answers("step_a_WRONG_variants", "latentsync")
def one_step_of_known_mistakes(case):
    right = predicted(case, unet(case), sibling(case, "step_a"))[:, :2]
    for name in case.wanted:
        yield name, as_recorded(right)


# ---- sampling


@answers("scheduler", "latentsync")
def scheduler(case):
    schedule = Leading()
    yield "out.alphas_cumprod", schedule.alphas_cumprod
    yield "out.final_alpha_cumprod", schedule.alphas_cumprod[:1]
    for name in case.wanted:
        if found := re.fullmatch(r"out\.(timesteps|chain)_(\d+)", name):
            steps = schedule.ddim(int(found[2]))
            if found[1] == "timesteps":
                yield name, torch.tensor([step.timestep for step in steps])
                continue
            chain, x = [], case["x"]
            for number, step in enumerate(steps):
                noise = seeded.normals(f"in.sched.eps{number}", (2, 4), case.salt)
                x = step.advance(x, step.velocity_of(noise, x))
                chain.append(x)
            yield name, torch.stack(chain)


def drawn(case: Case, name: str, *shape: int) -> Tensor:
    return seeded.normals(f"in.{case.name}.{name}", shape, case.salt)


def sampled(codec: AutoencoderCodec, pixels: Tensor, noise: Tensor) -> Tensor:
    """As the original does it, where ours takes the mean."""
    mean, spread = codec.posterior(pixels)
    return mean + (spread / 2).exp() * noise


@answers("sample_.*", "latentsync")
def sampling(case):
    facts, codec, mask = case.facts, vae_of(sibling(case, "sample_n5")), case["mask"]
    frames, px = facts["frames"], facts["px"]
    pixels = (0.5 * drawn(case, "pixels", frames, 3, px, px)).clamp(-1, 1)
    masked = sampled(codec, pixels * mask, drawn(case, "eps_masked", frames, 4, px // 8, px // 8))
    whole = sampled(codec, pixels, drawn(case, "eps_ref", frames, 4, px // 8, px // 8))
    small = mask[..., ::8, ::8]
    yield "out.mask_latents", small[:, :, None]
    yield "out.masked_latents", as_recorded(masked)[None]
    yield "out.ref_latents", as_recorded(whole)[None]
    settings, steps = Settings(facts["steps"], facts["guidance"], facts["deepcache_interval"] or 1), []
    made = denoise(
        unet(case),
        case["noise"][:, :, 0],
        torch.cat([small.expand(frames, -1, -1, -1), masked, whole], dim=1),
        drawn(case, "audio", frames, 50, 16),
        settings,
        lambda done, latents, clean: steps.append(latents),
    )
    yield "out.latents_first", as_recorded(steps[0])[None]
    yield "out.latents", as_recorded(made)[None]
    pictures = codec.autoencoder.decode(made / codec.scale).sample
    yield "out.combined", (pictures * (1 - mask) + pixels * mask)[facts["combined_frames"]]


# ---- alignment and masks


POINTS106 = ((43, 48, 49, 51, 50), (101, 102, 103, 104, 105), (74, 77, 83, 86))


@answers("masks", "latentsync")
def masks(case):
    for name in case.wanted:
        what, size = re.fullmatch(r"out\.(latent|u8)_(\d+)", name).groups()
        kept = mask(case.facts["source"], int(size))[0, 0]
        if what == "u8":
            rows = (kept * 255).round().byte()
            yield name, rows[::7] if name == "out.u8_512" else rows
        else:
            yield name, in_latents(kept)


def three(case: Case) -> np.ndarray:
    landmarks = case["landmarks106"].double().numpy()
    return np.stack([landmarks[:, list(some)].mean(1) for some in POINTS106], axis=1).round()


def generated(case: Case, number: int, size: int) -> Tensor:
    small = seeded.normals(f"in.{case.name}.gen{number}", (1, 3, 8, 8), case.salt) * 0.5
    return F.interpolate(small, (size, size), mode="bilinear", align_corners=True).clamp(-1.2, 1.2)[0]


def restored(faces: Faces, picture: Tensor, crop: Tensor, frame: int) -> Tensor:
    made, patch = picture.clone(), faces.patch(crop, frame)
    blended(made, patch, patch.weights, 1.0, False)
    return made


@answers("align_(a|b)", "latentsync")
def align(case):
    size, frames, points = case.facts["resolution"], case["frames"], three(case)
    yield "out.landmarks3", torch.from_numpy(points).float()
    unshifted, left = fitted(points, size)
    smooth = aligned(points, size)
    yield "out.bias", torch.from_numpy(lagging(left, KEPT)).float()
    yield "out.matrices_unsmoothed", torch.from_numpy(unshifted).float()
    yield "out.matrices", torch.from_numpy(smooth).float()
    faces = Faces(smooth, size, (frames.shape[2], frames.shape[1]))
    yield "out.canvas0", faces.canvases(frames[:1], [0])[0]
    yield "out.faces", faces.cut(frames, range(len(frames)))
    crops = [generated(case, number, size) for number in range(len(frames))]
    yield "out.generated_resized0", faces.on_canvas(crops[0])
    yield (
        "out.restored",
        torch.stack([restored(faces, *one, frame) for frame, one in enumerate(zip(frames, crops, strict=True))]),
    )
    yield "out.white0", restored(faces, torch.zeros_like(frames[0]), torch.ones(3, size, size), 0)[..., 0]


@answers("align_tiny_face", "latentsync")
def align_tiny(case):
    size, frames = case.facts["resolution"], case["frames"]
    found = aligned(three(case), size)
    yield "out.matrix", torch.from_numpy(found[0]).float()
    faces = Faces(found, size, (frames.shape[2], frames.shape[1]))
    yield "out.face", faces.cut(frames, [0])[0]
    yield "out.restored", restored(faces, frames[0], torch.ones(3, size, size), 0)


# ---- whole inferences


class SamplingCodec:
    """Gives what the original drew, masked faces first, where the seam has the mean."""

    def __init__(self, codec: AutoencoderCodec, case: Case, count: int):
        names = "eps_masked", "eps_ref"
        self.codec = codec
        self.noise = torch.cat([case[name][at : at + FRAMES] for at in range(0, count, FRAMES) for name in names])

    def encode(self, pixels: Tensor) -> Tensor:
        noise, self.noise = self.noise.split([len(pixels), len(self.noise) - len(pixels)])
        return sampled(self.codec, pixels, noise)

    def decode(self, latents: Tensor) -> Tensor:
        return self.codec.autoencoder.decode(latents / self.codec.scale).sample


def shown(count: int, frames: int) -> np.ndarray:
    """Forwards and backwards, both ends twice."""
    places = np.arange(count) % (2 * frames)
    return np.minimum(places, 2 * frames - 1 - places)


@answers("pipe_.*", "latentsync")
def whole(case):
    facts, frames, size = case.facts, case["frames"], case.facts["resolution"]
    wishes = Wishes(facts["seed"], facts["steps"], facts["guidance"], area=facts["mask"])
    codec = SamplingCodec(vae_of(sibling(case, "sample_n5")), case, facts["chunks"])
    whisper = of_latentsync(case)
    method = LatentSync(
        unet(case), codec, lambda samples, joints: hear(whisper, samples, LATENTSYNC, joints), size, wishes=wishes
    )
    assert torch.equal(shared_noise(wishes.seed, size // 8), case["noise"][:, :, 0])
    heard = method.listen(Recording(wave(case, case.name)), Fraction(25))
    assert len(heard) == facts["frames_out"]
    places = shown(len(heard), len(frames))
    faces = Faces(aligned(three(case), size), size, (frames.shape[2], frames.shape[1]))
    yield "out.matrices", torch.from_numpy(faces.matrices[places]).float()
    aligned_places = places[facts["aligned_stored"]]
    yield "out.aligned", faces.cut(frames[aligned_places], aligned_places)
    script = Script(places, np.ones(len(places), np.float32))
    chunks = redub(method, (frames[place] for place in places), faces, heard, script)
    crops, pictures = zip(*((chunk.frames, placed(chunk, faces, script, Blend())) for chunk in chunks), strict=True)
    yield "out.faces", torch.cat(crops)[facts["faces_stored"]]
    yield "out.video_u8", torch.cat(pictures)[facts["frames_stored"]]
