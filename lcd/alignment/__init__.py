"""Alignment of networks with references: importance maps, the neural harmonizer, robustness, probes of scenes."""
