"""Validity of a diagnosis: whether demands predict what improvements gain that took no part in the estimate."""
