"""Rebuilding IMPACT: the account of whole years, IMPACT's layout, and the comparison with IMPACT's tables."""
