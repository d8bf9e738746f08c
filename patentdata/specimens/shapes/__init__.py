"""Shapes of the articles that specimens show."""
