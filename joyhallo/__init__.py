"""JoyHallo (arXiv 2409.13268): one portrait and a speech recording become a talking video."""
