"""Parts of `damaged_files.py`: kinds of files, good files of each, ways to damage them, and a limited reading."""
