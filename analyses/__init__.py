"""Figures and reports of what the LCD measured."""
