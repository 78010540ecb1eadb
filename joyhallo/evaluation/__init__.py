"""Films measured in figures, each beside a control."""
