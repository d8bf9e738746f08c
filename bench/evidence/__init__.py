"""Tests the claims made for each part of DesignCLIP, on drawn patents of known classes.

python -m bench.evidence --out DIR [--scale small|large]
"""
