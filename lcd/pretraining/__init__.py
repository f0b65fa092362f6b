"""Pretraining an encoder on a game's own frames, without reward."""
