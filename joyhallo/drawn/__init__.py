"""People drawn by a program who say spoken sentences: data of which the truth is known."""
