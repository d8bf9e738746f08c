"""The strokes of a view that are drawn in broken lines: found by geometry, measured and removed."""
