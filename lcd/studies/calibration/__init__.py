"""Holding the instrument against games whose difficulty is known."""
