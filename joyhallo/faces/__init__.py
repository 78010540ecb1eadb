"""Finding faces in pictures, tracking them, cropping to them and pasting frames back."""
