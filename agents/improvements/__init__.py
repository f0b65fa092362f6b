"""Published improvements of PPO, each a subclass of `lcd.agents.PPO` that learns the same policies."""
