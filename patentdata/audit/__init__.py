"""Audit of a dataset: views that are nearly the same, labels that disagree with their neighbours, wrong captions."""
