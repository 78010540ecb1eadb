"""Whether a model of drawn people speaks, measured against the known truth."""
