"""Speed at which views become image features, against the bare tower over the same images in the same run.

    python -m bench.embedding [--architecture ViT-B-32] [--num-views 512] [--rounds 4] [--precision fp32]

Writes a dataset of drawn views (`bench.drawn_views`) and embeds it as evaluation does: JPEGs decoded, resized, sent to
the device as 8-bit grey, normalised there, encoded, copied back, checked. The reference is the image tower alone in the
same precision, whose input is on the device already and whose output stays there. The two take turns; wall time counts,
since the parts overlap. The smallest cosine between the features and those of fp32 is printed too, in one JSON line.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.drawn_views import write_dataset
from model.clip.embeddings import embed_images
from model.clip.loading import Clip, choose_device, load_clip
from model.clip.precision import PRECISIONS
from model.clip.source import ModelSource
from model.dataset.folder import open_dataset
from model.dataset.images import ImageReader
from model.dataset.views import Views, read_views


def main(arguments: list[str] | None = None) -> int:
    """Measure and print. Returns 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", default="ViT-B-32", help="of open_clip; the weights are fresh")
    parser.add_argument("--num-views", type=int, default=512)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2, help="threads that decode images")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    options = parser.parse_args(arguments)
    device = choose_device(options.device)
    clip = load_clip(ModelSource(options.architecture), device=device, seed=0)
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["DESIGNCLIP_CACHE"] = str(Path(temporary) / "cache")
        folder = Path(temporary) / "drawn"
        folder.mkdir()
        write_dataset(folder, options.num_views)
        views = read_views(open_dataset(folder), "train")
        result = measure(clip, views, options)
    print(json.dumps({"bench": "embedding", "device": str(device), **vars(options), **result}))
    return 0


def measure(clip: Clip, views: Views, options: argparse.Namespace) -> dict[str, Any]:
    """Views per second of both, their ratio, and how near the features are to those of fp32."""
    device: torch.device = clip.model.logit_scale.device  # type: ignore[assignment]
    with contextlib.closing(ImageReader(views, clip.preprocess, num_workers=options.workers)) as reader:
        starts = range(0, len(views), options.batch_size)
        batches = [reader.read(range(at, min(at + options.batch_size, len(views)))).to(device) for at in starts]
    terms: dict[str, Any] = {"batch_size": options.batch_size, "num_workers": options.workers}

    def own() -> None:
        embed_images(clip, views, precision=options.precision, **terms)

    def bare() -> None:
        _encode(clip, batches, options.precision)

    spent = {"own": 0.0, "bare": 0.0}
    own()
    bare()
    for _ in range(options.rounds):
        for name, work in (("own", own), ("bare", bare)):
            started = time.perf_counter()
            work()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            spent[name] += time.perf_counter() - started
    features = embed_images(clip, views, precision=options.precision, **terms)
    cosines = (features * embed_images(clip, views, **terms)).sum(axis=1)
    num = len(views) * options.rounds
    return {
        "views_per_s": round(num / spent["own"], 1),
        "bare_views_per_s": round(num / spent["bare"], 1),
        "ratio": round(spent["bare"] / spent["own"], 3),
        "least_cosine_with_fp32": float(np.round(cosines.min(), 6)),
    }


@torch.inference_mode()
def _encode(clip: Clip, batches: list[torch.Tensor], precision: str) -> None:
    model: Any = clip.model.eval()
    for batch in batches:
        with torch.autocast(batch.device.type, torch.bfloat16, enabled=precision == "bf16"):
            model.encode_image(batch)


if __name__ == "__main__":
    raise SystemExit(main())
