"""Which room may import which: read from the code itself, with names of modules in strings counted as imports."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from shared import REPOSITORY

# From the ground up: a room imports from its own floor and from those below.
FLOORS = (
    ("config", "libraries", "notices", "ops", "recent", "streams", "work"),
    ("files",),
    ("sound", "faces", "diffusion"),
    ("film",),
    ("measures",),
    ("methods",),
    ("data", "convert"),
    ("drawn",),
    ("evaluation",),
    ("training",),
    ("commands", "__main__"),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
TOP = ("tools", "benchmarks", "tests", "nodes")


def imported(path: Path, root: Path = REPOSITORY) -> Iterator[str]:
    """Whole names of modules, and of what is taken from them; strings that look like modules of ours, too."""
    package = path.relative_to(root).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            start = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{start}.{name.name}" for name in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "import_module":
            parts = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
            yield from (".".join([*package, *name.strip(".").split(".")]) if name.startswith(".") else name
                        for name in parts if isinstance(name, str))  # fmt: skip


def modules(folder: str) -> list[Path]:
    return sorted((REPOSITORY / folder).rglob("*.py"))


def room(name: str) -> str:
    """Of joyhallo.faces.boxes.Box: faces."""
    parts = name.split(".")
    return parts[1] if parts[0] == "joyhallo" and len(parts) > 1 else ""


def method(name: str) -> str:
    """Of joyhallo.methods.hallo.sampling: hallo; nothing where no folder of a method is meant."""
    parts = name.split(".")
    folder = REPOSITORY / "joyhallo" / "methods" / (parts[2] if len(parts) > 2 else "")
    return parts[2] if parts[:2] == ["joyhallo", "methods"] and len(parts) > 2 and folder.is_dir() else ""


def own(path: Path) -> str:
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")


def test_every_room_has_a_floor():
    there = {room(own(path)) for path in modules("joyhallo")} - {""}
    assert there == set(FLOOR)


@pytest.mark.parametrize("path", modules("joyhallo"), ids=own)
def test_nothing_imports_from_above(path):
    here = room(own(path))
    above = {name for name in imported(path) if here and FLOOR.get(room(name), 0) > FLOOR[here]}
    assert above == set()
    assert {name for name in imported(path) if name.split(".")[0] in TOP} == set()


@pytest.mark.parametrize("path", modules("joyhallo/methods"), ids=own)
def test_a_method_knows_no_other_method(path):
    here = method(own(path))
    assert {name for name in imported(path) if here and method(name) not in ("", here)} == set()


@pytest.mark.parametrize("path", modules("nodes"), ids=own)
def test_nodes_import_nothing_that_the_registry_leaves_out(path):
    left_out = ("__main__", "commands", "data", "drawn", "evaluation", "training", "work")
    assert {name for name in imported(path) if room(name) in left_out or name.split(".")[0] in TOP[:3]} == set()


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("from ..methods.hallo import sampling", "joyhallo.methods.hallo.sampling"),
        ("def f():\n    import joyhallo.methods.hallo", "joyhallo.methods.hallo"),
        ("import importlib\nimportlib.import_module('joyhallo.methods.hallo')", "joyhallo.methods.hallo"),
        ("from importlib import import_module\nimport_module(f'tools.{name}')", "tools."),
        ("from importlib import import_module\nimport_module('.hallo.x', __package__)", "joyhallo.files.hallo.x"),
    ],
)  # fmt: skip
def test_imports_are_seen_however_they_are_written(tmp_path, line, found):
    path = tmp_path / "joyhallo" / "files" / "new.py"
    path.parent.mkdir(parents=True)
    path.write_text(line)
    assert found in set(imported(path, tmp_path))
