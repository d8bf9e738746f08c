"""Captions: what a view looks like (shape) and what the article is for (function), as texts that CLIP can read.

A `Captioner` turns views into rows of `schemas.CAPTIONS`.
"""
