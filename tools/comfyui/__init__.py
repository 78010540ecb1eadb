"""A real ComfyUI without a screen, and the page that it serves: fetched, started and driven."""
