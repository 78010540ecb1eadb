"""Preparing data and training the networks: plain PyTorch, without ComfyUI. Needs the extra `training`."""
