"""Files on disk: weights, downloads, finished chunks that are kept, and the space that all of it takes."""
