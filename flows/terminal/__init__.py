"""What the command line prints: progress bars, tables, messages, the log."""
