"""Evaluation protocols, one task a module."""
