"""A photograph that speaks at once: its own pixels are moved by what is heard."""
