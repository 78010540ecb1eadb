"""PUBLISHED: files of MuseTalk, under the names that users choose, and those of the networks that it works with.

The parser's author publishes it where only a browser gets it; this is a copy that others keep, and that is optional.
"""

from __future__ import annotations

from ...files.download import Published

MUSETALK, WHISPER, VAE = "TMElyralab/MuseTalk", "openai/whisper-tiny", "stabilityai/sd-vae-ft-mse"
PARSER = "ManyOtherFunctions/face-parse-bisent"
UNET_SIZE = 3_400_000_000
PARSER_LICENCE = "BiSeNet's weights were trained on CelebAMask-HQ, which is for non-commercial research only"

FILES = (
    Published("musetalk/musetalkV15/unet.pth", MUSETALK, "musetalkV15/unet.pth", UNET_SIZE),
    Published("musetalk/musetalk/pytorch_model.bin", MUSETALK, "musetalk/pytorch_model.bin", UNET_SIZE),
    Published("whisper-tiny/model.safetensors", WHISPER, "model.safetensors", 151_000_000),
    Published(
        "sd-vae-ft-mse/diffusion_pytorch_model.safetensors", VAE, "diffusion_pytorch_model.safetensors", 335_000_000
    ),
    Published(
        "face-parse-bisent/79999_iter.pth", PARSER, "79999_iter.pth", 53_300_000, needed=False, licence=PARSER_LICENCE
    ),
)
MODELS = tuple(file.place for file in FILES if file.repository == MUSETALK)
PUBLISHED = {file.place: (file,) for file in FILES}
