"""The pack loaded as ComfyUI loads it, within the test's own process, for tests that look into it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
NAME = "joyhallo_pack"


def load_pack(tree: Path, root: Path = ROOT, name: str = NAME) -> ModuleType:
    """Import ComfyUI's modules from its tree, on the CPU, then the pack by its folder. Both stay imported."""
    if name in sys.modules:
        return sys.modules[name]
    path = list(sys.path)
    sys.path[:] = [str(tree), *(entry for entry in path if Path(entry or ".").resolve() != ROOT)]
    try:
        from comfy.cli_args import args

        args.cpu = args.use_pytorch_cross_attention = True  # as the tests' server is started
        import nodes  # noqa: F401  ComfyUI's, before any import inside of it could find the pack's

        spec = importlib.util.spec_from_file_location(
            name, root / "__init__.py", submodule_search_locations=[str(root)]
        )
        assert spec is not None
        assert spec.loader is not None
        pack = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(pack)
    finally:
        sys.path[:] = path
    return pack
