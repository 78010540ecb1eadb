"""Whether a model does what it is for, in figures: drawn people and spoken sentences of which the truth is known."""
