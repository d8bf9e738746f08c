"""Where a model fails: its misses, counted by what they have in common."""
