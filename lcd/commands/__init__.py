"""Commands whose work has no package of its own."""
