"""Training an encoder on a game's own frames, before any reward."""
