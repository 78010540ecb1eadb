"""What a PyTorch file holds, told by the index in it: no tensor is read, and nothing that the file names is run.

The index is read in Python: C's reader makes room for whatever number an index names, which may be billions.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, BinaryIO, ClassVar

Shape = tuple[int, ...]

MAGIC = 0x1950A86A20F9469CFC6C  # how files of 2020 and before begin
LARGEST_INDEX = 4 << 20  # bytes; that of 5 GB of weights has a tenth of it
MOST_READS = 500_000  # steps; an index takes about 60 for each tensor
MOST_NAMES = 50_000  # of tensors; the largest networks have some thousands
MOST_SHARED = 4  # times the file's size, that its tensors take where they share memory
DEEPEST = 40  # modules within modules
REBUILDING = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3")  # calls with storage, offset, size
WRAPPERS = ("model_state_dict", "state_dict", "module")  # keys under which trainers put what matters
FAIRSEQ = {"args", "cfg"}  # what its files have beside a "model", and are known by
WIDTHS = {  # bytes of each number, by what PyTorch calls a run of them
    **dict.fromkeys(("Half", "BFloat16", "Short"), 2),
    **dict.fromkeys(("Float", "Int"), 4),
    **dict.fromkeys(("Double", "Long", "ComplexFloat"), 8),
    "ComplexDouble": 16,
}


class Damaged(ValueError):
    """No index that can be read, or one that claims more than the file has."""


@dataclass(frozen=True)
class Run:
    """Numbers that lie in a file one after the other, for one tensor or several."""

    kind: str  # Float, Half, Long, ...
    key: str  # of the archive's entry

    @property
    def width(self) -> int:
        return WIDTHS.get(self.kind, 1)


@dataclass(frozen=True)
class Place:
    """Where a tensor's numbers lie."""

    run: Run
    shape: Shape
    offset: int
    strides: Shape

    @property
    def size(self) -> int:
        return math.prod(self.shape) * self.run.width


@dataclass(frozen=True)
class Index:
    places: dict[str, Place | None]  # by the tensors' names, as they are loaded; None for what is no tensor
    folder: str = ""  # of the archive, in which `data/` has the runs
    torchscript: bool = False

    @property
    def shapes(self) -> dict[str, Shape | None]:
        return {name: place and place.shape for name, place in self.places.items()}


def index_of(file: BinaryIO) -> Index:
    """Takes what `torch.save` writes, today's and that of 2020, and TorchScript archives, whose modules it walks.

    Bytes that are no pickle make it raise anything.
    """
    archive = file.read(2) == b"PK"
    file.seek(0)
    return _of_archive(file) if archive else _of_stream(file)


def unwrapped(whole: Any) -> Any:
    """Without the dictionary that trainers put around the weights."""
    for wrapper in WRAPPERS:
        if isinstance(whole, dict) and isinstance(whole.get(wrapper), dict):
            whole = whole[wrapper]
    modelled = isinstance(whole, dict) and isinstance(whole.get("model"), dict) and not FAIRSEQ & whole.keys()
    return whole["model"] if modelled else whole


def _of_archive(source: BinaryIO) -> Index:
    with zipfile.ZipFile(_Bounded(source)) as archive:  # type: ignore[arg-type]  # all that it needs of a file
        entries = {entry.filename: entry for entry in archive.infolist()}
        name = next((name for name in entries if name.endswith("/data.pkl")), None)
        if name is None:
            raise Damaged("a zip archive without PyTorch's index in it")
        if entries[name].file_size > LARGEST_INDEX:
            raise Damaged(f"its index claims more than {LARGEST_INDEX >> 20} MB")
        index = _Reader(_Bounded(io.BytesIO(archive.read(name))))
        whole = index.load()
    folder = name.removesuffix("data.pkl")
    for key, size in index.storages.items():
        entry = entries.get(f"{folder}data/{key}")
        if entry is None or entry.file_size < size:
            raise Damaged("its index names more numbers than the archive holds")
        if entry.compress_type != zipfile.ZIP_STORED:
            raise Damaged("the archive was compressed, as PyTorch never does")
    return Index(index.named(whole, _size(source)), folder, f"{folder}constants.pkl" in entries)


def _of_stream(source: BinaryIO) -> Index:
    """Three small pickles, then the index, then the numbers."""
    file, size = _Bounded(source), _size(source)
    index = _Reader(file)
    whole = index.load()
    if whole == MAGIC:
        for _ in ("version of the format", "facts about the system"):
            _Reader(file).load()
        index = _Reader(file)
        whole = index.load()
    if sum(index.storages.values()) > size:
        raise Damaged("its index names more numbers than the file holds")
    return Index(index.named(whole, size))


def _size(file: BinaryIO) -> int:
    here = file.tell()
    size = file.seek(0, 2)
    file.seek(here)
    return size


class _Bounded:
    """A file of which no more is read than an index needs, whatever lengths it claims."""

    def __init__(self, file: Any):
        self.file, self.left, self.reads = file, LARGEST_INDEX, MOST_READS
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        found = self.file.read(size if 0 <= size <= self.left else self.left + 1)
        self.left -= len(found)
        self.reads -= 1
        if self.left < 0 or self.reads < 0:
            raise Damaged(f"its index takes more than {LARGEST_INDEX >> 20} MB or {MOST_READS} steps")
        return found

    def readline(self) -> bytes:
        start = self.file.tell()
        length = len(self.file.readline(self.left + 1))
        self.file.seek(start)
        return self.read(length)


def _tensor(run: Run, offset: Any, shape: Any, strides: Any, *_: Any) -> Place:
    shape, strides = tuple(shape), tuple(strides)
    if not all(type(number) is int and number >= 0 for number in (offset, *shape, *strides)):
        raise Damaged("a tensor's shape is not made of whole numbers")
    return Place(run, shape, offset, strides)


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


class _Reader(pickle._Unpickler):  # type: ignore[name-defined]  # that in Python: see above
    """Imports nothing: names of classes and functions lead to the few things above."""

    read: Callable[[int], bytes]  # set by load

    def __init__(self, file: _Bounded):
        super().__init__(file)
        self.storages = dict[str, int]()  # bytes, by key

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch._utils" and name in REBUILDING:
            return _tensor
        if module == "torch._utils" and name.startswith("_rebuild_parameter"):
            return lambda data, *_: data
        if module == "torch" and name.endswith("Storage"):
            return name.removesuffix("Storage")
        return _Thing

    def persistent_load(self, pid: Any) -> Run:
        _, kind, key, _, numbers, *_ = pid
        if numbers < 0:
            raise Damaged("a tensor has fewer than no numbers")
        run = Run(kind, str(key))
        self.storages[run.key] = numbers * run.width
        return run

    def named(self, whole: Any, size: int) -> dict[str, Place | None]:
        """What an index holds, unless its tensors take far more memory than the file of this size."""
        found = dict(_named(unwrapped(whole), count()))
        if sum(place.size for place in found.values() if place) > MOST_SHARED * size:
            raise Damaged("its tensors share numbers so often that they would fill far more memory than the file")
        return found

    def load_frame(self) -> None:
        """Frames say how much to read ahead; no more is read at a time than one step needs."""
        self.read(8)

    dispatch: ClassVar[dict[int, Any]] = {**pickle._Unpickler.dispatch, pickle.FRAME[0]: load_frame}


def _named(whole: Any, seen: Iterator[int], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Place | None]]:
    state = whole.state if isinstance(whole, _Thing) else whole
    if not isinstance(state, Mapping) or depth > DEEPEST:
        return
    for key, value in state.items():
        if next(seen) > MOST_NAMES:  # modules may be shared, and then a short index names without end
            raise Damaged(f"it names more than {MOST_NAMES} things")
        if isinstance(value, Place):
            yield f"{prefix}{key}", value
        elif isinstance(value, _Thing) and isinstance(value.state, Mapping):
            yield from _named(value, seen, f"{prefix}{key}.", depth + 1)
        elif not prefix:
            yield str(key), None
