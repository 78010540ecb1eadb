"""Every picture that the repository shows, drawn or taken from the running page."""
