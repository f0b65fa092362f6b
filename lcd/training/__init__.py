"""Training of the cells of a diagnosis."""
