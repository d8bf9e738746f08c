"""One training step: losses, optimizer and what is around them."""
