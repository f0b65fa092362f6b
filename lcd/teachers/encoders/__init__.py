"""Encoders of label maps for teachers only: privileged features and longer computations than a learner may have."""
