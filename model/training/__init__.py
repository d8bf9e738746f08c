"""Training a CLIP model."""
