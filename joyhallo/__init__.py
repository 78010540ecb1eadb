"""JoyHallo (arXiv 2409.13268): one portrait and a speech recording become a talking video."""

__version__ = "0.1.0"  # as in pyproject.toml, which is not read where the nodes run
