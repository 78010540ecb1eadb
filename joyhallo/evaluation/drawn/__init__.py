"""Evaluation of models of drawn people against the known truth."""
