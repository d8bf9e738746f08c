"""Metrics, baselines and confidence intervals."""
