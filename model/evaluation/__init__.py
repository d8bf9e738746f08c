"""Measuring a CLIP model."""
