"""A graphics card that is none, for machines without one: its numbers lie in ordinary memory, but nothing may mix them
with others. What PyTorch refuses between a card and ordinary memory is refused here, by the same rules.

    with comfyui_computes_on_the_card() as card:
        ...
    assert card.operations
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

_setup_privateuseone_for_python_backend("card")
CARD, MEMORY = torch.device("card:0"), torch.device("cpu")
ROOM = 24 << 30  # bytes

MOVES = {"to", "_to_copy", "copy_"}  # whose tensors may lie apart
UP, DOWN = "up", "down"  # numbers that go to the card, or come from it
INDEXES = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}  # whose places may lie in memory


class Mixed(RuntimeError):
    pass


class OnCard(Tensor):
    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> OnCard:
        layout = {"strides": inner.stride(), "storage_offset": inner.storage_offset(), "dtype": inner.dtype}
        made = Tensor._make_wrapper_subclass(cls, inner.size(), device=CARD, requires_grad=False, **layout)
        made.inner = inner
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return done(func, args, kwargs or {})

    def tolist(self) -> Any:
        return self.inner.tolist()

    def numpy(self, *_: Any, **__: Any) -> Any:
        raise Mixed("NumPy does not see what lies on the card")

    __array__ = numpy

    def __repr__(self) -> str:
        return f"{tuple(self.shape)} of {self.dtype} on the card"


class Card(TorchDispatchMode):
    """Inside `with`, of the threads that enter it: `.to("card")` works, and whatever makes tensors there."""

    def __init__(self, operations: Counter[str] | None = None) -> None:
        """operations: on the card by their names, UP and DOWN among them; several threads may count together"""
        super().__init__()
        self.operations = Counter[str]() if operations is None else operations

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = done(func, args, kwargs or {})
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        places = [isinstance(leaf, OnCard) for leaf in (*given, *tree_leaves(made)) if isinstance(leaf, Tensor)]
        if any(places):
            name = name_of(func)
            way = (places[1], places[0]) if name == "copy_" else (places[0], places[-1])
            moved = {(False, True): UP, (True, False): DOWN}.get(way) if name in MOVES else None
            self.operations[moved or name] += 1
        return made

    def __enter__(self) -> Card:
        torch._C._set_only_lift_cpu_tensors(True)  # or `torch.tensor(..., device=...)` would go past us
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        torch._C._set_only_lift_cpu_tensors(False)


# ---- one operation


def done(func: Any, args: tuple, kwargs: dict) -> Any:
    name = name_of(func)
    given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    known = {id(leaf.inner): leaf for leaf in given if isinstance(leaf, OnCard)}
    if name == "_has_compatible_shallow_copy_type":
        return not known
    device = goal(func, args, kwargs)
    there = bool(known) if device is None else device.type == CARD.type
    if not known and not there:
        return func(*args, **kwargs)
    if known and name not in MOVES:
        check(name, args, kwargs)
    if name == "copy_":
        func(*map(bare, args), **kwargs)
        return args[0]
    with torch.inference_mode(False), torch.no_grad():  # or what is made in that mode is of no use outside of it
        made = func(*tree_map(bare, args), **tree_map(bare, kwargs))
        if given and there != isinstance(given[0], OnCard):  # torch sees no reason to copy what is in memory anyway
            made = tree_map(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, made)
        return tree_map(lambda leaf: wrapped(leaf, known), made) if there else made


def name_of(func: Any) -> str:
    return func._schema.name.partition("::")[2]


def goal(func: Any, args: tuple, kwargs: dict) -> torch.device | None:
    """Where the result shall lie, if that is said."""
    if str(func) == "aten.to.other":
        return args[1].device
    return next((leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.device)), None)


def bare(leaf: Any) -> Any:
    if isinstance(leaf, OnCard):
        return leaf.inner
    return MEMORY if isinstance(leaf, torch.device) and leaf.type == CARD.type else leaf


def wrapped(leaf: Any, known: dict[int, OnCard]) -> Any:
    if not isinstance(leaf, Tensor) or isinstance(leaf, OnCard):
        return leaf
    return known[id(leaf)] if id(leaf) in known else OnCard(leaf)


def check(name: str, args: tuple, kwargs: dict) -> None:
    """A single number may come from anywhere; of an index the places, too."""
    compared = (args[0], args[2:], kwargs) if name in INDEXES else (args, kwargs)
    given = [leaf for leaf in tree_leaves(compared) if isinstance(leaf, Tensor)]
    for leaf in given:
        if not isinstance(leaf, OnCard) and leaf.ndim:
            raise Mixed(f"{name}: {tuple(leaf.shape)} of {leaf.dtype} in memory, and others on the card")


# ---- ComfyUI

COMPUTE = ("get_torch_device", "text_encoder_device", "vae_device")
KEEP = ("unet_offload_device", "text_encoder_offload_device", "vae_offload_device")


@contextmanager
def comfyui_computes_on_the_card(halves: bool = False) -> Iterator[Card]:
    """In this thread and in those that begin meanwhile.

    halves: whether it is a card for which ComfyUI chooses numbers of 16 bits, networks and VAEs each their own
    """
    import comfy.model_management as manager

    card = Card()
    changed: dict[str, Any] = {name: lambda *_: CARD for name in COMPUTE}
    changed |= {name: lambda *_: MEMORY for name in KEEP}
    changed |= {name: _room(getattr(manager, name)) for name in ("get_free_memory", "get_total_memory")}
    changed |= {name: lambda *_, **__: halves for name in ("should_use_fp16", "should_use_bf16")}
    with ExitStack() as stack:
        stack.enter_context(mock.patch.multiple(manager, vram_state=manager.VRAMState.NORMAL_VRAM, **changed))
        stack.enter_context(mock.patch.object(threading.Thread, "run", _beside(card, threading.Thread.run)))
        yield stack.enter_context(card)


def _beside(card: Card, run: Callable) -> Callable:
    def on_the_card(thread: threading.Thread) -> None:
        with Card(card.operations):
            run(thread)

    return on_the_card


def _room(known: Callable) -> Callable:
    def room(device: Any = None, *more: Any, **named: Any) -> Any:
        if device is not None and torch.device(device).type != CARD.type:
            return known(device, *more, **named)
        return (ROOM, ROOM) if any((*more, *named.values())) else ROOM

    return room
