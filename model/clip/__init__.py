"""CLIP models: loading, heads, tokenizers, embeddings."""
