"""Calibration games: image games whose difficulty is set by perceptual and policy factors."""
