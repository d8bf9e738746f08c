"""Figure labels on drawing sheets: found and read."""
