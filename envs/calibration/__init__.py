"""Games whose difficulty is known, to hold the instrument against: image games with dials."""
