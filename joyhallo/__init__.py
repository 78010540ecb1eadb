"""JoyHallo (arXiv 2409.13268): one portrait and a speech recording become a talking video."""

__version__ = "0.1.0"  # repeats pyproject.toml, which cannot be read where the nodes run
