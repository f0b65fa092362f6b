"""Whether memory and phase synchrony help agents to track objects that change; see docs/tracking.md."""
