"""MuseTalk against TMElyralab/MuseTalk, whose own program runs as it is, but for files and its finder of faces."""

from __future__ import annotations

import importlib
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from joyhallo.config import FPS, SAMPLE_RATE
from joyhallo.files.checkpoint import Checkpoint
from joyhallo.files.norms import COUNTER
from joyhallo.methods.musetalk.boxes import boxes_of
from joyhallo.methods.musetalk.checkpoint import without_norms
from joyhallo.methods.musetalk.method import AT_ONCE, SIZE, MuseTalk
from joyhallo.methods.musetalk.network import CHANNELS, FACES, TOKENS, Sizes, UNet, placed
from joyhallo.methods.musetalk.parser import Parser
from joyhallo.methods.redub import Wishes, in_parts
from joyhallo.sound.whisper import HEAD, MUSETALK, Whisper, hear
from joyhallo.sound.whisper_file import encoder_of

from .measuring import (
    SOUND,
    TINY,
    Clip,
    Codec,
    autoencoder,
    compared,
    peak,
    published_autoencoder,
    redubbed,
    seeded,
    tflop,
    turns,
    without_spread,
)
from .originals import of_file, open_checkout, silenced

ADDRESS, SIGN = "github.com/TMElyralab/MuseTalk", "scripts/inference.py"
UNUSED = ("librosa", "omegaconf", "ffmpeg", "musetalk.utils.preprocessing")
LATENTS = 32  # along each side
MARGIN = 10  # pixels added below the chin, by either side
LEVELS = 4


def open_original(folder: Path) -> None:
    open_checkout(folder, SIGN, ADDRESS, UNUSED)


def original(sizes: Sizes) -> Any:
    """The network, which is diffusers' own, as the published musetalk.json describes it."""
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    deep = len(sizes.channels) - 1
    told: dict[str, Any] = {
        "sample_size": 64,
        "in_channels": FACES * CHANNELS,
        "out_channels": CHANNELS,
        "block_out_channels": sizes.channels,
        "layers_per_block": sizes.layers,
        "down_block_types": ("CrossAttnDownBlock2D",) * deep + ("DownBlock2D",),
        "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * deep,
        "cross_attention_dim": sizes.sound,
        "attention_head_dim": sizes.heads,
        "norm_num_groups": sizes.norm_groups,
    }
    return UNet2DConditionModel(**told)


@dataclass(frozen=True)
class Both:
    """The same weights on both sides."""

    checkout: Path
    sizes: Sizes

    # ---- networks

    @cached_property
    def theirs(self) -> Any:
        return seeded(original(self.sizes))

    @cached_property
    def ours(self) -> UNet:
        return Checkpoint(lambda ops: UNet(self.sizes, ops), self.theirs.state_dict()).build()

    @cached_property
    def vae(self) -> Any:
        return without_spread(seeded(autoencoder([32] * LEVELS, 1)))

    @cached_property
    def hearing(self) -> Any:
        from transformers import WhisperConfig, WhisperModel

        heads = SOUND // HEAD
        config = WhisperConfig(
            d_model=SOUND,
            encoder_layers=TINY,
            encoder_attention_heads=heads,
            encoder_ffn_dim=4 * SOUND,
            decoder_layers=1,
            decoder_attention_heads=heads,
            decoder_ffn_dim=SOUND,
        )
        return seeded(WhisperModel(config))

    @cached_property
    def whisper(self) -> Whisper:
        return Checkpoint(lambda ops: Whisper(SOUND, TINY, ops), encoder_of(self.hearing.state_dict())).build()

    @cached_property
    def parsing(self) -> nn.Module:
        module = importlib.import_module("musetalk.utils.face_parsing.model")
        with mock.patch.object(module.Resnet18, "init_weight"):  # which would read a file
            return seeded(module.BiSeNet(None))

    @cached_property
    def parser(self) -> Parser:
        state = {key: tensor for key, tensor in self.parsing.state_dict().items() if not key.endswith(COUNTER)}
        return Checkpoint(Parser, state, without_norms).build()

    # ---- the network

    def step(self, frames: int, count: int) -> dict[str, Any]:
        torch.manual_seed(0)
        latents, sound = torch.randn(frames, FACES * CHANNELS, LATENTS, LATENTS), torch.randn(frames, TOKENS, SOUND)

        def ours() -> Tensor:
            return self.ours(latents, placed(sound))

        def theirs() -> Tensor:
            return self.theirs(latents, torch.zeros(1), encoder_hidden_states=placed(sound)).sample

        away = (ours() - theirs()).abs().max()
        return {"frames": frames, "most_apart": float(away), **turns(ours, theirs, count)}

    # ---- the whole

    def method(self, parsed: bool = True) -> MuseTalk:
        def heard(samples: Tensor, joints: Any) -> Any:
            return hear(self.whisper, samples, MUSETALK, joints)

        parse = self.parser if parsed else None
        return MuseTalk(self.ours, Codec(self.vae), heard, "1.5", parse=parse, wishes=Wishes(pads=(0, MARGIN, 0, 0)))

    def whole(self, side: int, frames: int, count: int) -> dict[str, Any]:
        """Both ask the parser. Ours can do without it, by outlines that are known; that is told, too."""
        clip = Clip.drawn(side, frames, frames)
        with tempfile.TemporaryDirectory() as place:
            run = self.program(clip, Path(place))
            mine, other = redubbed(self.method(), clip), run()
            away = (mine.int() - torch.from_numpy(other).int()).abs()
            agreed = {"most_levels_apart": int(away.max()), "mean_levels_apart": round(float(away.float().mean()), 5)}
            figures = turns(lambda: redubbed(self.method(), clip), run, count)
            figures["without_parser"] = turns(lambda: redubbed(self.method(parsed=False), clip), run, count)
        return {"picture": side, "frames": len(mine), **agreed, **figures}

    def program(self, clip: Clip, folder: Path) -> Callable[[], np.ndarray]:
        """The original's, from frames and sound to frames."""
        from transformers import WhisperFeatureExtractor

        module = of_file(self.checkout / SIGN, "original_musetalk")
        WhisperFeatureExtractor().save_pretrained(folder)
        (folder / "frames").mkdir()
        asked = Namespace(
            ffmpeg_path="",
            gpu_id=0,
            unet_model_path="",
            vae_type="",
            unet_config="",
            use_float16=False,
            whisper_dir=str(folder),
            version="v15",
            left_cheek_width=90,
            right_cheek_width=90,
            inference_config="",
            result_dir=str(folder / "results"),
            output_vid_name=None,
            use_saved_coord=False,
            saved_coord=False,
            fps=FPS,
            audio_padding_length_left=2,
            audio_padding_length_right=2,
            extra_margin=MARGIN,
            batch_size=AT_ONCE,
            parsing_mode="jaw",
        )

        def run() -> np.ndarray:
            with silenced(), self.without_files(module, clip, folder) as written:
                module.main(asked)
            return np.stack(written)[..., ::-1].copy()

        return run

    @contextmanager
    def without_files(self, module: Any, clip: Clip, folder: Path) -> Iterator[list[np.ndarray]]:
        """Frames and sound come from memory, frames go there; faces are found where the clip says."""
        boxes = [tuple(box) for box in boxes_of(clip.track, "none").tolist()]
        pictures = [np.ascontiguousarray(picture[..., ::-1]) for picture in clip.pictures.numpy()]
        written: list[np.ndarray] = []
        task = {"video_path": str(folder / "frames"), "audio_path": str(folder / "preprocessor_config.json")}
        replaced = {
            "fast_check_ffmpeg": lambda: True,
            "load_all_model": lambda **_: self.loaded(),
            "WhisperModel": mock.Mock(from_pretrained=lambda _: self.hearing),
            "OmegaConf": mock.Mock(load=lambda _: {"clip": task}),
            "get_landmark_and_bbox": lambda *_: (boxes, pictures),
            "coord_placeholder": (0.0, 0.0, 0.0, 0.0),
        }
        sound = importlib.import_module("musetalk.utils.audio_processor").librosa
        parsing = importlib.import_module("musetalk.utils.face_parsing").FaceParsing
        with (
            mock.patch.multiple(module, **replaced),
            mock.patch.object(module.cv2, "imwrite", lambda path, picture: written.append(picture)),
            mock.patch.object(module.os, "system"),
            mock.patch.object(sound, "load", return_value=(clip.recording.samples.numpy(), SAMPLE_RATE)),
            mock.patch.object(parsing, "model_init", return_value=self.parsing),
        ):
            yield written

    def loaded(self) -> tuple[Any, Any, Any]:
        """As its own loader gives them, which would read files."""
        vae = importlib.import_module("musetalk.models.vae")
        positions = importlib.import_module("musetalk.models.unet").PositionalEncoding(d_model=SOUND)
        with mock.patch.object(vae.AutoencoderKL, "from_pretrained", return_value=self.vae):
            return vae.VAE(), Namespace(model=self.theirs), positions


# ---- what is counted, on the meta device: nothing of it is computed


def counted(sizes: Sizes, dtype: torch.dtype = torch.float16, frames: int = AT_ONCE) -> dict[str, Any]:
    """Of a batch: work of the network for a frame, and bytes. The original encodes frame by frame."""
    with torch.device("meta"):
        ours, theirs = UNet(sizes).to(dtype).eval(), original(sizes).to(dtype).eval()
        vae = published_autoencoder().to(dtype).eval()
        latents = torch.empty(frames, FACES * CHANNELS, LATENTS, LATENTS, dtype=dtype)
        sound, moment = torch.empty(frames, TOKENS, sizes.sound, dtype=dtype), torch.zeros(1)
        pixels, made = torch.empty(frames, 3, SIZE, SIZE, dtype=dtype), torch.empty_like(latents[:, :CHANNELS])
    codec = Codec(vae)

    def step() -> None:
        ours(latents, sound)

    def their_step() -> None:
        theirs(latents, moment, encoder_hidden_states=sound)

    known = [tensor for network in (ours, theirs, vae) for tensor in network.state_dict().values()]
    known += [latents, sound, moment, pixels, made]
    parts = {
        "step": (step, their_step),
        "encode": (lambda: in_parts(codec.encode, pixels, SIZE, "meta"), lambda: vae.encode(pixels[:1]).latent_dist),
        "decode": (lambda: in_parts(codec.decode, made, SIZE, "meta"), lambda: vae.decode(made).sample),
    }
    bytes_of = {name: tuple(peak(work, known) for work in works) for name, works in parts.items()}
    most = [max(side) for side in zip(*bytes_of.values(), strict=True)]
    return {
        "frames": frames,
        "step_tflop_a_frame": compared(tflop(step) / frames, tflop(their_step) / frames),
        **{f"{name}_mb": compared(*(number >> 20 for number in pair)) for name, pair in bytes_of.items()},
        "batch_mb": compared(*(number >> 20 for number in most)),
    }
