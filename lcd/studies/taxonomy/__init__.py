"""Sorting games by what makes them hard: positions, classes, and how far both can be trusted."""
