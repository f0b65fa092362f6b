"""Procgen: its 16 games, drawn as players see them and as label maps of the same state."""
