import re

from shared import REPOSITORY

import joyhallo


def test_requirements_are_those_of_the_package():
    """ComfyUI Manager reads requirements.txt, pip the project file."""
    listed = (REPOSITORY / "requirements.txt").read_text().splitlines()
    project = (REPOSITORY / "pyproject.toml").read_text()
    dependencies = re.search(r"^dependencies = \[(.*?)^\]", project, re.MULTILINE | re.DOTALL)
    assert dependencies is not None
    declared = re.findall(r'^    "(.*)",$', dependencies[1], re.MULTILINE)
    wanted = [line for line in listed if line and not line.startswith("#")]
    assert [line.replace('"', "'") for line in wanted] == declared
    assert not any(re.match("(torch|numpy|torchvision|torchaudio)\\b", line) for line in wanted)
    assert "transformers" in wanted  # any version


def test_the_version_is_that_of_the_package():
    assert f'\nversion = "{joyhallo.__version__}"\n' in (REPOSITORY / "pyproject.toml").read_text()
