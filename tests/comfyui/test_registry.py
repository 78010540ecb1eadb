"""What ComfyUI's own reader, which the registry shares, makes of the project file."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
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


def test_no_classifier_is_dropped(read):
    """One that is unknown would take all of its kind with it."""
    assert read["project"]["supported_os"] == ["OS Independent"]
    assert {"GPU :: NVIDIA CUDA", "GPU :: AMD ROCm", "GPU :: Apple Metal"} == set(
        read["project"]["supported_accelerators"]
    )


def test_the_publisher_is_named(read):
    assert read["tool_comfy"]["publisher_id"]
    assert read["tool_comfy"]["display_name"] == "JoyHallo"
