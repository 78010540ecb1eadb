"""The parts of UNets of Stable Diffusion's kind, which several methods share."""
