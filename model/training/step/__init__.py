"""One training step: losses, optimiser, and the ways to change which weights learn and how."""
