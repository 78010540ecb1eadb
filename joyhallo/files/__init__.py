"""Files on disk: weights, downloads, journals of finished chunks, and free space."""
