"""From evaluated episodes to demands with intervals and a verdict: statistics alone, without torch."""
