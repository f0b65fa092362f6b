"""Parts of `build_docs.py`: what is public and its pages, and how Sphinx renders it."""
