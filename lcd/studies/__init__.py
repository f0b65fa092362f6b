"""What is measured with many runs: a diagnosis, a survey, a taxonomy, a calibration, an encoder ablation."""
