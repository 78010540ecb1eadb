"""What the engine does on a graphics card: everything that is to be known of one, by one command."""
