"""Wav2Lip: the mouths of a film follow another recording. One small network, a frame at a time."""
