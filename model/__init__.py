"""CLIP on captioned views: training, embedding, evaluation."""
