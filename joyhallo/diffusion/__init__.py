"""Diffusion in general: noise schedules, solvers, and codecs between pixels and latents."""
