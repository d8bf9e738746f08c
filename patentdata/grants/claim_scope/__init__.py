"""What a grant says about its lines: which of what is drawn is claimed."""
