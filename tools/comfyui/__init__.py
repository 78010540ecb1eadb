"""Fetching, starting and driving a headless ComfyUI and its page."""
