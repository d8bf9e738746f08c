"""Where and how tasks run."""
