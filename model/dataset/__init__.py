"""Reading datasets for training, evaluation and search."""
