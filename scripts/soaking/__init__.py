"""Parts of `soak.py`: killed surveys, flipped bits, the memory of long learning, and the table of what was lost."""
