"""Whether each part of DesignCLIP does what it claims, on drawn patents of known classes.

python -m bench.evidence --out DIR [--scale small|large]
"""
