"""JoyHallo (arXiv 2409.13268): one portrait and a speech recording become a talking video."""

SOFTWARE = "ComfyUI-JoyHallo"  # as films name what made them
__version__ = "0.1.0"  # repeats pyproject.toml, which cannot be read where the nodes run
