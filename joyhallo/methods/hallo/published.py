"""PUBLISHED: the files of JoyHallo and Hallo, under the names that users choose."""

from __future__ import annotations

from typing import Any

from ...files.download import Published

HALLO = "fudan-generative-ai/hallo"
CHINESE = "TencentGameMate/chinese-wav2vec2-base"
NON_COMMERCIAL = "InsightFace's models are for non-commercial research only"


# Which file is whose network, and the speech encoder that each was trained with
MODELS = {"joyhallo/net.pth": "JoyHallo", "hallo/net.pth": "Hallo"}
ENCODERS = {"JoyHallo": "chinese-wav2vec2-base", "Hallo": "wav2vec/wav2vec2-base-960h"}


def _from_hallo(place: str, **more: Any) -> Published:
    return Published(place, HALLO, place, **more)


def _wav2vec(folder: str, repository: str, path: str, weights: str, other: str) -> tuple[Published, ...]:
    return (
        Published(f"{folder}/config.json", repository, f"{path}config.json"),
        Published(f"{folder}/preprocessor_config.json", repository, f"{path}preprocessor_config.json", needed=False),
        Published(f"{folder}/{weights}", repository, path + weights, 377_000_000, alike=(f"{folder}/{other}",)),
    )


# By the user's choice: a file, or a folder of several. Places and repositories are those of JoyHallo's README. Sizes
# are estimates: most follow from the shapes of the weights, in half precision for net.pth.
PUBLISHED: dict[str, tuple[Published, ...]] = {
    "joyhallo/net.pth": (Published("joyhallo/net.pth", "jdh-algo/JoyHallo-v1", "net.pth", 4_750_000_000),),
    "hallo/net.pth": (_from_hallo("hallo/net.pth", size=4_850_000_000),),
    "chinese-wav2vec2-base": _wav2vec("chinese-wav2vec2-base", CHINESE, "", "pytorch_model.bin", "model.safetensors"),
    "wav2vec/wav2vec2-base-960h": _wav2vec(
        "wav2vec/wav2vec2-base-960h", HALLO, "wav2vec/wav2vec2-base-960h/", "model.safetensors", "pytorch_model.bin"
    ),
    "face_analysis": (
        _from_hallo("face_analysis/models/scrfd_10g_bnkps.onnx", size=17_000_000, licence=NON_COMMERCIAL),
        _from_hallo("face_analysis/models/glintr100.onnx", size=261_000_000, licence=NON_COMMERCIAL),
    ),
    "sd-vae-ft-mse/diffusion_pytorch_model.safetensors": (
        _from_hallo("sd-vae-ft-mse/diffusion_pytorch_model.safetensors", size=335_000_000),
    ),
    "face_analysis/models/face_landmarker_v2_with_blendshapes.task": (
        _from_hallo("face_analysis/models/face_landmarker_v2_with_blendshapes.task", size=3_800_000),
    ),
    "audio_separator/Kim_Vocal_2.onnx": (_from_hallo("audio_separator/Kim_Vocal_2.onnx", size=67_000_000),),
}
