"""Searching designs by text or picture."""
