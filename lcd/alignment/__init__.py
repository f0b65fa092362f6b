"""Alignment of networks with reference importance maps: measures, the neural harmonizer, robustness."""
