"""Reading recordings, levelling and separating them, cutting them into turns, and encoding them for the networks."""
