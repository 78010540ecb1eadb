"""What numbers can say of a film: pictures and sound in, figures out; no folders, no reports, no ComfyUI."""
