"""How a network sees: where it looks, how its vision may be made more like a reference, and how robust it is."""
