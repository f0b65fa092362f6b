"""Validation of the demands on games of known difficulty."""
