"""Synthetic data with known truth: drawn people who say sentences spoken by espeak-ng."""
