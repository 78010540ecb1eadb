"""Measuring generated films: figures, each with a control."""
