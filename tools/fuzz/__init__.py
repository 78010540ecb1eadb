"""Random prompts for the pack in a real ComfyUI: whatever is put in, what comes out is a result or a sentence."""
