import os
from pathlib import Path

import pytest
from inside import load_pack


@pytest.fixture(scope="session")
def pack():
    return load_pack(Path(os.environ["COMFYUI"]))
