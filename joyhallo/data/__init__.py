"""Datasets: videos prepared for training, read back, and exchanged with the original's layout."""
