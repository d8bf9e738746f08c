"""Stage views: drawing sheets, split into single figures."""
