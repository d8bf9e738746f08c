"""Stage views: splits drawing sheets into single figures."""
