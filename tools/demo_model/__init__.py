"""Training, bundling and evaluating the small model that comes with the nodes."""
