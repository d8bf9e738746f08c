"""The table of contents: what happens, in order."""
