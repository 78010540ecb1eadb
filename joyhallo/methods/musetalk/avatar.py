"""Latents of the faces that were seen, by what they look like: another recording on the same film starts at once."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable

import torch
from torch import Tensor

MOST = 128 << 20  # bytes: 8192 faces in half precision


class Avatar:
    """The least recently used are forgotten first. In main memory, as a GPU's is needed elsewhere."""

    def __init__(self, most: int = MOST):
        self.most, self.held = most, 0
        self.latents: OrderedDict[Hashable, Tensor] = OrderedDict()

    def of(self, crops: Tensor, of_what: Hashable, encode: Callable[[Tensor], Tensor]) -> Tensor:
        """crops (n, ...) of bytes -> latents (n, ...). encode: for crops that are not known.

        of_what: whatever else the latents depend on.
        """
        keys = [(of_what, hashlib.blake2b(crop.numpy().tobytes(), digest_size=16).digest()) for crop in crops.cpu()]
        known = {key: self.latents[key] for key in keys if key in self.latents}
        if missing := {key: place for place, key in enumerate(keys) if key not in known}:
            made = encode(crops[list(missing.values())])
            known |= zip(missing, made.cpu(), strict=True)
        for key in keys:
            self._keep(key, known[key])
        return torch.stack([known[key] for key in keys]).to(crops.device)

    def _keep(self, key: Hashable, latents: Tensor) -> None:
        if key in self.latents:
            self.latents.move_to_end(key)
            return
        self.latents[key] = latents.clone()  # not a view, which would hold all that were made with it
        self.held += latents.nbytes
        while self.held > self.most:
            self.held -= self.latents.popitem(last=False)[1].nbytes
