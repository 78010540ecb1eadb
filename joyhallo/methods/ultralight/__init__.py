"""Ultralight-Digital-Human: one person's lips follow a recording. A small network of that person, a frame at a time."""
