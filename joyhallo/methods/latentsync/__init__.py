"""LatentSync 1.5 and 1.6: faces of sixteen frames at a time are painted anew in latents, as the sound has it."""
