"""Files of weights as they come damaged, mistaken or made to harm. Each is written when a test asks for it."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
import zlib
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor
from torch._utils import _rebuild_tensor_v2

State = Mapping[str, Tensor]
NAMES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")
WEB_PAGE = b"<!DOCTYPE html><html><title>404</title></html>"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4800000000\n"
BOMB = 3 << 30  # bytes that unpack from 3 MB


@dataclass(frozen=True)
class Case:
    name: str  # ends as the file's name does
    write: Callable[[Path], object]


def cases(state: State, mark: Path) -> Iterator[Case]:
    """Files like one with this good state in it. Code in them, if run, would make the file `mark`."""
    yield from other_contents()
    yield from with_code(state, mark)
    yield from _cut(state)
    yield from other_states(state)
    yield from odd_tensors(state)
    yield from _lying_headers(state)
    yield from _lying_archives(state)
    yield from _lying_pickles()
    yield from _no_files()


# ---- what is no file of weights


def other_contents() -> Iterator[Case]:
    contents = {
        "no-bytes": b"",
        "web-page": WEB_PAGE,
        "pointer": POINTER,
        "words": b"hello",
        "zeros": bytes(4096),
        "noise": bytes(range(256)) * 16,
        "picture": b"\x89PNG\r\n\x1a\n" + bytes(64),
        "zip-only": b"PK\x03\x04" + b"garbage" * 9,
        "pickle-only": b"\x80\x02garbage",
        "brace": bytes(8) + b"{",
    }
    for name, content in contents.items():
        for end in NAMES:
            yield _bytes(f"{name}{end}", content)


def _no_files() -> Iterator[Case]:
    yield Case("folder.safetensors", Path.mkdir)
    yield Case("dangling.pth", lambda path: path.symlink_to(path.with_name("nowhere")))
    yield Case("loop.pth", lambda path: path.symlink_to(path))
    yield Case("absent.pth", lambda path: None)
    if hasattr(os, "mkfifo"):
        yield Case("fifo.pth", os.mkfifo)
        yield Case("fifo.safetensors", os.mkfifo)


# ---- pickles that run something


class Calls:
    def __init__(self, function: Callable[..., Any], *given: Any):
        self.call = function, given

    def __reduce__(self) -> Any:
        return self.call


def with_code(state: State, mark: Path) -> Iterator[Case]:
    evil = {
        "touch": Calls(Path.touch, mark),
        "open": Calls(open, str(mark), "w"),
        "system": Calls(os.system, f"touch '{mark}'"),
        "exec": Calls(exec, f"open({str(mark)!r}, 'w')"),
        "load": Calls(torch.load, io.BytesIO(pickle.dumps(Calls(Path.touch, mark)))),
        "namespace": Namespace(arch="wav2vec2"),
    }
    for name, thing in evil.items():
        for end in NAMES:
            yield Case(f"{name}-beside{end}", _saved({**state, "evil": thing}))
        yield Case(f"{name}-legacy.pth", _saved({**state, "evil": thing}, False))
        yield _bytes(f"{name}-alone.bin", pickle.dumps(thing, 2))
        yield _bytes(f"{name}-named-safetensors.safetensors", pickle.dumps({"weight": thing}, 4))


# ---- damage


def _cut(state: State) -> Iterator[Case]:
    for end, whole in (("safetensors", save(dict(state))), ("pth", packed(state)), ("bin", packed(state, False))):
        for share in (0.001, 0.01, 0.1, 0.5, 0.9, 0.99):
            yield _bytes(f"cut-at-{share}.{end}", whole[: max(9, int(len(whole) * share))])
        yield _bytes(f"without-the-end.{end}", whole[:-1])
        middle = len(whole) // 2
        if end != "safetensors":  # whose numbers have no checksum
            yield _bytes(f"head-overwritten.{end}", b"\x80\x02" + bytes(98) + whole[100:middle])
    yield _bytes("more-behind.safetensors", save(dict(state)) + b"more")


# ---- other things in place of names and tensors


def other_states(state: State) -> Iterator[Case]:
    first = next(iter(state))
    others: dict[str, Any] = {
        "numbers-as-keys": {1: torch.zeros(2)},
        "a-number-among-keys": {**state, 1: torch.zeros(2)},
        "bytes-as-keys": {b"weight": torch.zeros(2)},
        "nested": {"a": {"b": {"c": torch.zeros(2)}}},
        "nested-below": {**state, "more": {"b": torch.zeros(2)}},
        "list": [torch.zeros(2)],
        "one-tensor": torch.zeros(2),
        "text": "weights",
        "none": None,
        "nothing": {},
        "text-among": {**state, first: "weights"},
        "number-among": {**state, first: 3},
        "list-among": {**state, first: [1.0]},
        "wrapped-nothing": {"state_dict": {}},
        "wrapped-in-itself": _endless(),
        "many": {f"layer.{n}.weight": None for n in range(150_000)},
    }
    for name, other in others.items():
        yield Case(f"{name}.pth", _saved(other))
        yield Case(f"{name}.bin", _saved(other, False))


def _endless() -> dict[str, Any]:
    whole: dict[str, Any] = {}
    whole["state_dict"] = whole
    return whole


def odd_tensors(state: State) -> Iterator[Case]:
    key, good = max(state.items(), key=lambda item: item[1].numel())
    plain = good.float()
    odd: dict[str, Tensor] = {
        "complex": plain.to(torch.complex64),
        "empty": torch.zeros(0),
        "wide-and-empty": torch.zeros(1 << 40, 0),
        "scalar": torch.zeros(()),
        "flat": plain.flatten(),
        "one-more": torch.zeros(*good.shape, 2),
        "one-less": plain[1:].clone(),
    }
    for name, tensor in odd.items():
        yield _bytes(f"{name}.safetensors", save({**state, key: tensor}))
        yield Case(f"{name}.pth", _saved({**state, key: tensor}))
    pickled = {
        "sparse": plain.to_sparse(),
        "quantised": torch.quantize_per_tensor(plain, 0.1, 0, torch.qint8),
        "meta": torch.zeros(1 << 20, 1 << 20, device="meta"),
        "spread": torch.zeros(1).expand(1 << 20, 1 << 20),
        "conjugated": torch.zeros(4, dtype=torch.complex64).conj(),
    }
    for name, tensor in pickled.items():
        yield Case(f"{name}.pth", _saved({**state, key: tensor}))
        yield Case(f"{name}.bin", _saved({**state, key: tensor}, False))


def whole_numbers(state: State) -> Iterator[Case]:
    """All tensors of another dtype: files that can be opened, but are no weights of a network."""
    for dtype in (torch.int64, torch.int8, torch.uint8, torch.bool):
        name = str(dtype).removeprefix("torch.")
        numbers = {key: tensor.to(dtype) for key, tensor in state.items()}
        yield _bytes(f"{name}.safetensors", save(numbers))
        yield Case(f"{name}.pth", _saved(numbers))


# ---- headers and archives that do not tell the truth


def _lying_headers(state: State) -> Iterator[Case]:
    whole = save(dict(state))
    length = int.from_bytes(whole[:8], "little")
    header, data = json.loads(whole[8 : 8 + length]), whole[8 + length :]
    key = next(key for key in header if key != "__metadata__")
    about = header[key]
    start, stop = about["data_offsets"]

    def told(name: str, **more: Any) -> Case:
        return _bytes(f"{name}.safetensors", headed({**header, key: {**about, **more}}, data))

    yield told("offsets-beyond", data_offsets=[start, stop + (1 << 40)])
    yield told("offsets-overlap", data_offsets=[start + 4, stop + 4])
    yield told("offsets-backwards", data_offsets=[stop, start])
    yield told("offsets-negative", data_offsets=[-4, stop])
    yield told("offsets-text", data_offsets="all")
    yield told("shape-too-large", shape=[1 << 40, 1 << 40])
    yield told("shape-negative", shape=[-1])
    yield told("shape-text", shape="large")
    yield told("shape-overflows", shape=[1 << 62, 4, 0])
    yield told("dtype-unknown", dtype="F33")
    yield told("dtype-of-four-bits", dtype="F4", shape=[2 * (stop - start)])
    yield told("dtype-number", dtype=7)
    for name, length in (("longer", len(whole)), ("shorter", 20), ("none", 0), ("endless", (1 << 64) - 1)):
        yield _bytes(f"header-{name}.safetensors", length.to_bytes(8, "little") + whole[8:])
    texts = {
        "header-list": b'{"a":1}',
        "header-null": b"{null}",
        "header-deep": b'{"a":' + b"[" * 100_000,
        "header-deep-objects": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        "header-long-number": b'{"a":' + b"1" * 100_000 + b"}",
        "header-not-unicode": b'{"\xff\xfe":1}',
        "header-nothing": b"{}",
        "metadata-list": b'{"__metadata__":[1]}',
        "metadata-number": b'{"__metadata__":{"joyhallo":1}}',
    }
    for name, text in texts.items():
        yield _bytes(f"{name}.safetensors", _headed(text, b""))
    double = json.dumps(about)
    twice = f"{{{json.dumps(key)}: {double}, {json.dumps(key)}: {double}}}".encode()
    yield _bytes("names-twice.safetensors", _headed(twice, data))
    yield Case("names-700000.safetensors", _many_names)


def _many_names(path: Path) -> None:
    empty = b'"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    path.write_bytes(_headed(b"{" + b",".join(empty % number for number in range(700_000)) + b"}", b""))


def _lying_archives(state: State) -> Iterator[Case]:
    good = packed(state)

    def again(name: str, change: Callable[[str, bytes], tuple[str, bytes]], packing: int = zipfile.ZIP_STORED) -> Case:
        def write(path: Path) -> None:
            with zipfile.ZipFile(io.BytesIO(good)) as source, zipfile.ZipFile(path, "w", packing) as target:
                for entry in source.namelist():
                    target.writestr(*change(entry, source.read(entry)))

        return Case(name, write)

    yield again("deflated.pth", lambda entry, data: (entry, data), zipfile.ZIP_DEFLATED)
    yield again("lzma.pth", lambda entry, data: (entry, data), zipfile.ZIP_LZMA)
    yield again("other-index.pth", lambda entry, data: (entry.replace("data.pkl", "index.pkl"), data))
    yield again("no-numbers.pth", lambda entry, data: (entry, b"" if "/data/" in entry else data))
    yield again("few-numbers.pth", lambda entry, data: (entry, data[:4] if "/data/" in entry else data))
    yield again("no-index.pth", lambda entry, data: (entry, b"" if entry.endswith(".pkl") else data))
    yield again("text-index.pth", lambda entry, data: (entry, b"hello" if entry.endswith(".pkl") else data))
    yield Case("other-zip.pth", _other_zip)
    yield Case("torchscript.pt", lambda path: torch.jit.script(torch.nn.Linear(2, 2)).save(path))
    yield Case("bomb.pth", bomb)
    yield Case("many-entries.pth", _many_entries)


def _other_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/b.txt", "nothing")


def _many_entries(path: Path) -> None:
    """A directory of 50 MB, of one entry again and again."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps({}, 2))
    data = buffer.getvalue()
    start, stop = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    directory = data[start:stop] * 900_000
    end = data[stop : stop + 8] + b"\xff\xff" * 2 + len(directory).to_bytes(4, "little") + data[stop + 16 :]
    path.write_bytes(data[:start] + directory + end)


def bomb(path: Path) -> None:
    """An archive of 3 MB with an index of 3 GB: a piece that unpacks to zeros, again and again."""
    start = b"\x80\x02\x8e" + (BOMB - 64).to_bytes(8, "little")
    packing = zlib.compressobj(9, zlib.DEFLATED, -15)
    content = packing.compress(start) + packing.flush(zlib.Z_FULL_FLUSH)
    zeros = packing.compress(bytes(1 << 20)) + packing.flush(zlib.Z_FULL_FLUSH)
    content += zeros * (BOMB >> 20) + packing.flush()
    entries = ((b"net/data.pkl", 8, 0, content, BOMB + len(start)), (b"net/version", 0, zlib.crc32(b"3"), b"3", 1))
    body, directory = b"", b""
    for name, method, checksum, packed_content, size in entries:
        about = struct.pack("<HLLLLHH", method, 0, checksum, len(packed_content), size, len(name), 0)
        directory += struct.pack("<4sHHH", b"PK\x01\x02", 20, 20, 0) + about + bytes(10)
        directory += struct.pack("<L", len(body)) + name
        body += struct.pack("<4sHH", b"PK\x03\x04", 20, 0) + about + name + packed_content
    end = struct.pack("<4sHHHHLLH", b"PK\x05\x06", 0, 0, 2, 2, len(directory), len(body), 0)
    path.write_bytes(body + directory + end)


def _lying_pickles() -> Iterator[Case]:
    yield _bytes("deep.bin", b"\x80\x02" + b"(" * 1_000_000)
    yield _bytes("deep-tuples.bin", b"\x80\x02)" + b"\x85" * 1_000_000 + b".")
    yield _bytes("lists.bin", b"\x80\x02" + b"]" * (12 << 20))
    yield _bytes("memo.bin", b"\x80\x02}r\xff\xff\xff\x1f.")
    yield _bytes("long-bytes.bin", b"\x80\x04\x8e" + (1 << 33).to_bytes(8, "little"))
    yield _bytes("long-text.bin", b"\x80\x04\x8d" + (1 << 62).to_bytes(8, "little"))
    yield _bytes("frame.bin", b"\x80\x04\x95" + (1 << 40).to_bytes(8, "little"))
    yield Case("sparse-bytes.bin", _sparse)
    nothing = Calls(_rebuild_tensor_v2, None, 0, (1 << 40,), (1,), False, OrderedDict())
    yield _bytes("tensor-of-nothing.bin", pickle.dumps({"weight": nothing}, 2))
    yield Case("storage-of-a-terabyte.bin", _large_storage)
    yield Case("storage-of-a-terabyte.pth", lambda path: _large_storage(path, True))


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.write(b"\x80\x04\x8e" + (1 << 33).to_bytes(8, "little"))
        file.truncate(1 << 33)  # takes no room on the disk


def _large_storage(path: Path, zipped: bool = False) -> None:
    """The number of elements of the only storage, 77, becomes a large one."""
    whole = packed({"weight": torch.zeros(77)}, zipped)
    large = b"\x8a\x06" + (1 << 40).to_bytes(6, "little")
    if not zipped:
        path.write_bytes(whole.replace(b"K\x4d", large))
        return
    with zipfile.ZipFile(io.BytesIO(whole)) as source, zipfile.ZipFile(path, "w") as target:
        for entry in source.namelist():
            data = source.read(entry)
            target.writestr(entry, data.replace(b"K\x4d", large) if entry.endswith("data.pkl") else data)


# ---- writing


def packed(state: object, zipped: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def headed(header: object, data: bytes) -> bytes:
    return _headed(json.dumps(header).encode(), data)


def _headed(text: bytes, data: bytes) -> bytes:
    return len(text).to_bytes(8, "little") + text + data


def _saved(state: object, zipped: bool = True) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(packed(state, zipped))


def _bytes(name: str, content: bytes) -> Case:
    return Case(name, lambda path: path.write_bytes(content))
