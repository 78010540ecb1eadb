"""Benchmarks, one file per question; each prints the figures of one run on one machine."""
