"""Photographs of the drawn articles: lit, coloured and before a background, with the truth about what they show."""
