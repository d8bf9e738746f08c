"""Speed of computing exact ranks, against sorting every row of the similarity matrix in the same run.

    python -m bench.retrieval [--num N] [--dim D] [--rounds N] [--no-reference]

Each of N queries has one right candidate among N. Features are random and of unit length; every candidate occurs twice,
so that scores tie. The reference computes the whole similarity matrix, sorts each row (`torch.argsort`) and looks up
the right candidate. Each method runs in its own process, whose peak memory is measured; the ranks of both are compared.
Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np
import torch

from model.evaluation.measures.metrics import Answers, best_ranks, scores_of_features

METHODS = ("counting", "argsort")


def draw_features(num: int, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Queries and candidates: (num, dim) float32 each, unit length; each candidate occurs twice."""
    generator = torch.Generator().manual_seed(0)
    queries, gallery = (torch.nn.functional.normalize(torch.randn(num, dim, generator=generator)) for _ in range(2))
    gallery[num // 2 : 2 * (num // 2)] = gallery[: num // 2]
    return queries, gallery


def ranks_by_counting(queries: torch.Tensor, gallery: torch.Tensor) -> np.ndarray:
    """(num,) rank of the right candidate of each query, from 1, computed by the project."""
    groups = np.arange(len(queries))
    return best_ranks(scores_of_features(queries, gallery), Answers.by_group(groups, groups), len(gallery))


def ranks_by_argsort(queries: torch.Tensor, gallery: torch.Tensor) -> np.ndarray:
    """(num,) rank of the right candidate of each query, from 1; the order of ties is left to the sort."""
    order = torch.argsort(queries @ gallery.T, dim=1, descending=True)
    return (order == torch.arange(len(queries))[:, None]).int().argmax(dim=1).numpy() + 1


def run(method: str, num: int, dim: int) -> None:
    """Run one method once; prints seconds, peak memory, its growth since the features, and the median rank as JSON."""
    queries, gallery = draw_features(num, dim)
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    ranks = (ranks_by_counting if method == "counting" else ranks_by_argsort)(queries, gallery)
    seconds = time.perf_counter() - started
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        json.dumps(
            {
                "seconds": seconds,
                "peak_gb": peak_kb * 1024 / 1e9,
                "grown_gb": (peak_kb - before_kb) * 1024 / 1e9,
                "median_rank": float(np.median(ranks)),
            }
        )
    )


def measure(method: str, num: int, dim: int, rounds: int) -> dict[str, float]:
    """The fastest of `rounds` rounds, each in a new process."""
    command = [sys.executable, "-m", "bench.retrieval", "--only", method, "--num", str(num), "--dim", str(dim)]
    results = [json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(rounds)]
    return min(results, key=lambda result: result["seconds"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument(
        "--no-reference",
        action="store_true",
        help="measure only our method, for sizes whose matrix does not fit into memory",
    )
    parser.add_argument("--only", choices=METHODS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        run(arguments.only, arguments.num, arguments.dim)
        return
    ours = measure("counting", arguments.num, arguments.dim, arguments.rounds)
    result = {
        "benchmark": "retrieval",
        "reference": "torch.argsort of the whole similarity",
        "num_queries": arguments.num,
        "num_candidates": arguments.num,
        "embed_dim": arguments.dim,
        "num_threads": torch.get_num_threads(),
        "seconds": round(ours["seconds"], 2),
        "peak_gb": round(ours["peak_gb"], 2),
        "peak_gb_allowed": 1.5,
    }
    if not arguments.no_reference:
        theirs = measure("argsort", arguments.num, arguments.dim, arguments.rounds)
        result |= {
            "reference_seconds": round(theirs["seconds"], 2),
            "reference_peak_gb": round(theirs["peak_gb"], 2),
            "ratio": round(ours["seconds"] / theirs["seconds"], 3),
            "ratio_allowed": 0.2,
            "median_rank": ours["median_rank"],
            "reference_median_rank": theirs["median_rank"],
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
