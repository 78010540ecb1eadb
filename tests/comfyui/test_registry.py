"""What ComfyUI's own reader, which the registry shares, makes of the project file."""

from __future__ import annotations

import ast
import asyncio
import json
import re
import shutil
import subprocess
import sys

import pytest
from inside import load_pack
from shared import REPOSITORY

READ = """
import sys
from comfy_config.config_parser import extract_node_configuration
print(extract_node_configuration(sys.argv[1]).model_dump_json())
"""


@pytest.fixture(scope="module")
def read(comfyui):
    asked = [sys.executable, "-c", READ, str(REPOSITORY)]
    return json.loads(subprocess.run(asked, cwd=comfyui, check=True, capture_output=True, text=True).stdout)


def test_the_project_is_complete(read):
    project = read["project"]
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9._-]{0,98}", project["name"])
    assert "comfyui" not in project["name"].lower()
    assert re.fullmatch(r"\d+\.\d+\.\d+", project["version"])
    assert project["description"]
    assert (REPOSITORY / project["license"]["file"]).is_file()
    assert project["urls"]["repository"].startswith("https://github.com/")
    assert project["supported_comfyui_version"] == ">=0.3.75"


def test_nothing_is_claimed_of_systems_that_nobody_tried(read):
    """And so nobody is warned off: an empty list is no restriction."""
    assert read["project"]["supported_os"] == read["project"]["supported_accelerators"] == []


def test_addresses_lead_to_files_that_are_here():
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    named = re.findall(
        r"https://(?:raw\.githubusercontent|github)\.com/([\w-]+/[\w-]+)/(?:blob/)?main/([\w./-]+)", text
    )
    assert {path for _, path in named} >= {"README.md", "CHANGELOG.md", "assets/icon.png", "assets/banner.png"}
    for repository, path in named:
        assert f'"https://github.com/{repository}"' in text
        assert (REPOSITORY / path).is_file(), path


def test_the_publisher_is_named(read):
    assert read["tool_comfy"]["publisher_id"]
    assert read["tool_comfy"]["display_name"] == "JoyHallo"


def test_the_nodes_start_no_program(packed):
    """Neither pip nor any other: the registry asks for it, and the linter (S) lets it through."""
    for file in sorted(path for path in packed if path.endswith(".py")):
        nodes = list(ast.walk(ast.parse((REPOSITORY / file).read_text(encoding="utf-8"))))
        named = {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
        named |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
        assert not named & {"subprocess", "multiprocessing", "pip"}, file


# ---- what the registry packs: files under version control, but for those of .comfyignore, which is read as git does


SERVED = ("__init__.py", "LICENSE", "README.md", "README.zh-CN.md", "pyproject.toml", "requirements.txt")
FOLDERS = ("demo_model", "example_workflows", "joyhallo", "locales", "nodes", "subgraphs", "web")
LEFT_OUT = ("__main__.py", "commands/", "data/", "drawn/", "evaluation/", "training/", "work.py")
BESIDE = tuple(f"joyhallo/{name}" for name in LEFT_OUT)
ALONE = "joyhallo_packed"


def tracked(*more: str) -> set[str]:
    asked = ["git", "ls-files", "--cached", "-z", *more]
    if not shutil.which("git") or (listed := subprocess.run(asked, cwd=REPOSITORY, capture_output=True)).returncode:
        pytest.skip("what is under version control is told by git, which does not tell it here")
    return set(filter(None, listed.stdout.decode().split("\0")))


@pytest.fixture(scope="module")
def packed() -> set[str]:
    return tracked() - tracked("--ignored", "--exclude-from=.comfyignore")


def test_all_that_comfyui_needs_is_packed_and_nothing_else(packed):
    needed = {path for path in tracked() if path in SERVED or path.startswith(tuple(f"{name}/" for name in FOLDERS))}
    needed = {path for path in needed if not path.startswith(BESIDE)}
    assert packed - needed <= {"CHANGELOG.md"}
    assert packed >= needed
    assert packed >= {*SERVED, "demo_model/net.safetensors", "example_workflows/demo.json"}


@pytest.fixture
def alone(packed, pack, comfyui, tmp_path):
    """What is packed, in a folder where nothing else is; `pack` has brought ComfyUI's modules."""
    for path in packed:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / path, tmp_path / path)
    yield load_pack(comfyui, tmp_path, ALONE)
    for name in [name for name in sys.modules if name.partition(".")[0] == ALONE]:
        del sys.modules[name]


def test_what_is_packed_loads(alone, pack, tmp_path):
    nodes = {node.define_schema().node_id for node in asyncio.run(listed(alone))}
    assert nodes == {node.define_schema().node_id for node in asyncio.run(listed(pack))}
    files = sys.modules[f"{ALONE}.nodes.model_folders"].find("demo", "demo", "none", "demo")
    assert all(path.is_relative_to(tmp_path) for path in (files.checkpoint, files.audio_encoder, files.vae))


async def listed(pack):
    return await (await pack.comfy_entrypoint()).get_node_list()
