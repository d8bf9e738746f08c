"""Runs every benchmark that needs neither a GPU nor a server, one after the other.

    python -m bench

The exit code is the highest of all benchmarks.
"""

import argparse
import subprocess
import sys

_BENCHMARKS = (
    "bench.viewpoints",
    "bench.claims",
    "bench.grants",
    "bench.stages",
    "bench.audit",
    "bench.views",
    "bench.broken_lines",
    "bench.archives",
    "bench.retrieval",
    "bench.search",
    "bench.loader",
    "bench.embedding",
    "bench.train",
)

if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    codes = [subprocess.run([sys.executable, "-m", name], check=False).returncode for name in _BENCHMARKS]
    sys.exit(max(codes))
