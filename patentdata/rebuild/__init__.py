"""Rebuilding IMPACT: the account of the years, IMPACT's layout, and the comparison with its tables."""
