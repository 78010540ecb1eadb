"""The puppet: a picture whose own pixels move with speech. No network makes an image; a small one hears."""
