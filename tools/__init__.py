"""What builds, shows and tests the pack; nothing of it runs where the nodes run."""
