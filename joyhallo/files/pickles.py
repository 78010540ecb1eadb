"""What a PyTorch file holds, told by the index in it: no tensor is read, and nothing that the file names is run."""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

Shape = tuple[int, ...]

MAGIC = 0x1950A86A20F9469CFC6C  # how files of 2020 and before begin
LARGEST_INDEX = 64 << 20  # bytes; that of 5 GB of weights has a third of one
MOST_NAMES = 100_000  # of tensors; the largest networks have some thousands
DEEPEST = 40  # modules within modules
REBUILDING = ("_rebuild_tensor", "_rebuild_tensor_v2")  # calls with storage, offset, size
WRAPPERS = ("state_dict", "module")  # keys under which trainers put what matters


class Damaged(ValueError):
    """No index that can be read."""


def names_in(path: Path) -> dict[str, Shape | None]:
    """The shapes of all tensors by their names, as they are loaded; None for what is no tensor.

    Takes what `torch.save` writes, today's and that of 2020, and TorchScript archives, whose modules it walks through.
    """
    try:
        with path.open("rb") as file:
            whole = _of_archive(path) if file.read(2) == b"PK" else _of_stream(file)
    except Damaged:
        raise
    except Exception as error:  # bytes that are no pickle make it raise anything
        raise Damaged(f"{type(error).__name__}: {error}") from error
    return dict(_named(unwrapped(whole), count()))


def unwrapped(whole: Any) -> Any:
    """Without the dictionary that trainers put around the weights."""
    for wrapper in WRAPPERS:
        if isinstance(whole, dict) and isinstance(whole.get(wrapper), dict):
            whole = whole[wrapper]
    return whole


def is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _of_archive(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        index = next((name for name in archive.namelist() if name.endswith("/data.pkl")), None)
        if index is None:
            raise Damaged("a zip archive without PyTorch's index in it")
        if archive.getinfo(index).file_size > LARGEST_INDEX:
            raise Damaged(f"its index claims more than {LARGEST_INDEX >> 20} MB")
        with archive.open(index) as file:
            return _Index(file).load()


def _of_stream(source: BinaryIO) -> Any:
    """Three small pickles, then the index, then the numbers."""
    source.seek(0)
    file = _Bounded(source)
    first = _Index(file).load()
    if first != MAGIC:
        return first
    for _ in ("version of the format", "facts about the system"):
        _Index(file).load()
    return _Index(file).load()


class _Bounded:
    """A file of which no more is read than an index needs, whatever lengths it claims."""

    def __init__(self, file: BinaryIO):
        self.file, self.left = file, LARGEST_INDEX

    def read(self, size: int) -> bytes:
        return self._counted(self.file.read(min(size, self.left + 1)))

    def readline(self) -> bytes:
        return self._counted(self.file.readline(self.left + 1))

    def _counted(self, found: bytes) -> bytes:
        self.left -= len(found)
        if self.left < 0:
            raise Damaged(f"its index is longer than {LARGEST_INDEX >> 20} MB")
        return found


class _Tensor:
    def __init__(self, shape: Shape):
        self.shape = shape


class _Thing:
    """Stands for any class, any function and what comes of them."""

    state: Any = None

    def __new__(cls, *_: Any, **__: Any) -> _Thing:
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __call__(self, *_: Any, **__: Any) -> _Thing:
        return self

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        pass

    def extend(self, values: Any) -> None:
        pass


class _Index(pickle.Unpickler):
    """Imports nothing: names of classes and functions lead to the few things above."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch._utils" and name in REBUILDING:
            return lambda storage, offset, size, *_: _Tensor(tuple(size))
        if module == "torch._utils" and name.startswith("_rebuild_parameter"):
            return lambda data, *_: data
        return _Thing

    def persistent_load(self, pid: Any) -> None:
        return None


def _named(whole: Any, seen: Iterator[int], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Shape | None]]:
    state = whole.state if isinstance(whole, _Thing) else whole
    if not isinstance(state, Mapping) or depth > DEEPEST:
        return
    for key, value in state.items():
        if next(seen) > MOST_NAMES:  # modules may be shared, and then a short index names without end
            raise Damaged(f"it names more than {MOST_NAMES} things")
        if isinstance(value, _Tensor):
            yield f"{prefix}{key}", value.shape
        elif isinstance(value, _Thing) and isinstance(value.state, Mapping):
            yield from _named(value, seen, f"{prefix}{key}.", depth + 1)
        elif not prefix:
            yield str(key), None
