"""Recordings: read, measured, cleaned, cut into turns, and turned into the features that networks hear."""
