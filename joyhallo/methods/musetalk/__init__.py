"""MuseTalk 1.0 and 1.5: the lower half of a face is painted anew in latents, in one step, as the sound has it."""
