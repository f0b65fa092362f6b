"""Parts of `benchmark.py`: what is measured and compared, and one measurement."""
