"""Games of other packages: any Gymnasium environment with images."""
