"""A real ComfyUI without a terminal's trouble: for the demo, and for the tests."""
