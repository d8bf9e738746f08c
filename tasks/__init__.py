"""One call each, with a name and a retry policy."""
