"""Tools that build, show and test the pack; the nodes never import them."""
