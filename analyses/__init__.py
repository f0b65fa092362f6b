"""Drawings and explanations of what the LCD measured."""
