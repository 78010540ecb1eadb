"""Faces in pictures: found, followed, cut out and put back."""
