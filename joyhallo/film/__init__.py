"""Moving pictures: files read frame by frame, files written frame by frame, and curves drawn as pictures."""
