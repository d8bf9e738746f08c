"""The folder of a training run: checkpoints, metrics, trackers, page."""
