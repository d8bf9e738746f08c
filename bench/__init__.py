"""Benchmarks: each measures one part of the project against a named reference in the same run."""
