"""Find a face in a picture, its landmarks, and crop it."""
