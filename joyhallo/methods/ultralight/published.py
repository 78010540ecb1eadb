"""PUBLISHED: what Ultralight-Digital-Human hears with. Its networks are nowhere published: each is of one person."""

from __future__ import annotations

from ...files.download import Published

HUBERT = "facebook/hubert-large-ls960-ft"
PLACE = "hubert-large-ls960-ft"
FILES = (
    Published(
        f"{PLACE}/pytorch_model.bin",
        HUBERT,
        "pytorch_model.bin",
        1_262_000_000,
        alike=(f"{PLACE}/model.safetensors",),
    ),
)
PUBLISHED = {file.place: (file,) for file in FILES}
