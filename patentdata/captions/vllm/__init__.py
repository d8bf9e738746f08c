"""Captions by a vision-language model behind vLLM."""
