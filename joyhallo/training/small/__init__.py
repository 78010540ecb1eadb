"""The small parts of a small model: its speech encoder and its codec of patches."""
