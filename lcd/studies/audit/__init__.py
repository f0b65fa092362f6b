"""Audits of benchmarks: what the mean over the games of a table of scores hides."""
