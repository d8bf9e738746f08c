"""The dataset as training, evaluation and search read it."""
