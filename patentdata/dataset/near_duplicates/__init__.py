"""Near-duplicates: drawings that are copies of each other but for size, turn, line width and specks."""
