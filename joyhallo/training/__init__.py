"""Both stages of training, in plain PyTorch and without ComfyUI. Needs the extra `training`."""
