"""Tensors that may be wanted again, in main memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from torch import Tensor


class Recent:
    """By what they depend on. The least recently used are forgotten first, when there are too many bytes of them."""

    def __init__(self, most: int):
        self.most, self.held = most, 0
        self._tensors: OrderedDict[Hashable, Tensor] = OrderedDict()

    def __len__(self) -> int:
        return len(self._tensors)

    def get(self, key: Hashable) -> Tensor | None:
        if key in self._tensors:
            self._tensors.move_to_end(key)
        return self._tensors.get(key)

    def keep(self, key: Hashable, tensor: Tensor) -> None:
        """tensor: not a view, which would hold all that was made with it."""
        if self.get(key) is not None:
            return
        self._tensors[key] = tensor
        self.held += tensor.nbytes
        while self.held > self.most and len(self) > 1:
            self.held -= self._tensors.popitem(last=False)[1].nbytes
