"""A real ComfyUI without a screen, for the demo and for the tests, and the small model that comes with the nodes."""
