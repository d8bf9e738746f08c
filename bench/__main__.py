"""Run every benchmark that needs nothing but this machine, one after the other."""

import subprocess
import sys

_BENCHMARKS = (
    "bench.viewpoints",
    "bench.grants",
    "bench.stages",
    "bench.views",
    "bench.archives",
    "bench.retrieval",
    "bench.loader",
    "bench.train",
)

if __name__ == "__main__":
    codes = [subprocess.run([sys.executable, "-m", name], check=False).returncode for name in _BENCHMARKS]
    sys.exit(max(codes))
