"""Stage dataset: views and captions, selected, split and frozen."""
