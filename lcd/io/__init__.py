"""Files, written whole or not at all and read within limits, and checks of what comes in."""
