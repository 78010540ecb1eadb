"""Training of a small model's parts: its speech encoder and its codec of patches."""
