"""Search for designs by text or picture."""
