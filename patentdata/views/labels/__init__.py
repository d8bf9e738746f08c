"""Finds and reads the figure labels on drawing sheets."""
