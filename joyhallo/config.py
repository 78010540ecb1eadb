"""FPS and SAMPLE_RATE, the rates that frames and samples are counted in everywhere."""

FPS = 25  # video frames per second
SAMPLE_RATE = 16_000  # samples per second of the sound that networks hear
