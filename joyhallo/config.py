"""The two rates that everything here is counted in."""

FPS = 25  # frames of a video in a second
SAMPLE_RATE = 16_000  # samples in a second, of what networks hear
