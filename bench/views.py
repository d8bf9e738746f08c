"""Accuracy and speed of splitting sheets, against RapidOCR over the whole page in the same run.

    python -m bench.views [FOLDER OF REAL PATENTS] [--num-raced 24] [--held-out]

Every sheet of `truth/dev.jsonl` is split without its grant and scored by `truth/score_views.py` in each group of
sheets. `--held-out` scores only every third patent; no setting was tuned on those. A view is right if its box matches
the truth (IoU 0.75) and its label is the printed one. The reference reads the page once as a thumbnail of 1500 pixels,
which finds text but does not cut figures. The two take turns over the same sheets on one core; processor time counts,
decoding included. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import os
import random
import resource
import tarfile
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np

from patentdata.views.sheets import read_sheet
from patentdata.views.splitting import SplitSheet, split_sheet

_DEFAULT = Path(os.environ.get("DESIGNCLIP_REAL_DATA", "../shared/data"))
_THUMBNAIL_PX = 1500
_IOU = 0.75


def sheets_of(folder: Path, truths: list[dict[str, Any]]) -> dict[str, bytes]:
    """File name in each truth → bytes of its TIFF."""
    found = {name: (folder / name).read_bytes() for t in truths if (name := t["file"]).startswith("sheets/")}
    wanted = {Path(t["file"]).name: t["file"] for t in truths if t["file"] not in found}
    for archive in sorted((folder / "redbook").iterdir()):
        for name, member in _members(archive):
            if "/DESIGN/" in name and "-SUPP" not in name:
                with zipfile.ZipFile(io.BytesIO(member)) as inner:
                    found |= {wanted[n]: inner.read(e) for e in inner.namelist() if (n := Path(e).name) in wanted}
    return found


def _members(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each member of a tar or ZIP archive."""
    if archive.suffix.lower() == ".tar":
        with tarfile.open(archive) as tar:
            yield from ((i.name, s.read()) for i in tar if (s := tar.extractfile(i)) is not None)
    else:
        with zipfile.ZipFile(archive) as week:
            yield from ((name, week.read(name)) for name in week.namelist())


def _scorer(folder: Path) -> ModuleType:
    """The scoring script that comes with the truth, as a module."""
    spec = importlib.util.spec_from_file_location("score_views", folder / "truth" / "score_views.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def accuracy(truths: list[dict[str, Any]], splits: dict[str, SplitSheet], scorer: ModuleType) -> dict[str, Any]:
    """Scores of every group of sheets, as the scorer summarises them."""
    groups: dict[str, Counter[str]] = {}
    for truth in truths:
        score = scorer.score_sheet(truth, _as_prediction(splits[truth["file"]]), _IOU)
        names = ["overall", "multi" if len(truth["figures"]) > 1 else "single", "source:" + truth["source"]]
        for name in names + (["hard"] if truth["hard"] else []):
            groups.setdefault(name, Counter()).update(score)
    return {name: scorer.summary(counts) for name, counts in sorted(groups.items())}


def _as_prediction(split: SplitSheet) -> dict[str, Any]:
    """A split sheet in the form that the scorer reads."""
    figures = [{"label": figure.label, "figure_box": list(figure.box)} for figure in split.figures]
    return {"figures": figures, "rotation_cw_to_upright": split.rotation_cw}


def confidence(truths: list[dict[str, Any]], splits: dict[str, SplitSheet], scorer: ModuleType) -> dict[str, float]:
    """Share of views with a flag, and share of right views among the others."""
    flags: Counter[str] = Counter()
    num_views = num_flagged = num_clear_right = 0
    for truth in truths:
        for figure in splits[truth["file"]].figures:
            num_views += 1
            flags.update(figure.flags)
            if figure.flags:
                num_flagged += 1
                continue
            box = {"figure_box": list(figure.box)}
            label = scorer.norm_label(figure.label)
            num_clear_right += any(
                scorer.best_iou(t, box) >= _IOU and scorer.norm_label(t["label"]) == label for t in truth["figures"]
            )
    return {
        "num_views": num_views,
        "share_flagged": round(num_flagged / num_views, 4),
        "right_among_unflagged": round(num_clear_right / max(1, num_views - num_flagged), 4),
        **{f"flag_{flag}": num for flag, num in sorted(flags.items())},
    }


def race(sheets: list[bytes]) -> dict[str, float]:
    """Sheets per second of both, and how many times faster the splitter is."""
    from rapidocr_onnxruntime import RapidOCR

    engine = RapidOCR(intra_op_num_threads=1, inter_op_num_threads=1, use_cls=False)

    def reference(data: bytes) -> None:
        page = read_sheet(data, name="sheet")
        scale = min(1.0, _THUMBNAIL_PX / max(page.shape))
        small = cv2.resize(page, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        engine(cv2.cvtColor(small, cv2.COLOR_GRAY2BGR), use_cls=False)

    def splitter(data: bytes) -> None:
        split_sheet(read_sheet(data, name="sheet"))

    seconds = {reference: 0.0, splitter: 0.0}
    for run in seconds:
        run(sheets[0])  # loads models, starts threads
    for data in sheets:
        for run in seconds:
            start = time.process_time()
            run(data)
            seconds[run] += time.process_time() - start
    return {
        "num_raced": len(sheets),
        "sheets_per_s": round(len(sheets) / seconds[splitter], 2),
        "reference_sheets_per_s": round(len(sheets) / seconds[reference], 3),
        "ratio": round(seconds[reference] / seconds[splitter], 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=_DEFAULT)
    parser.add_argument(
        "--num-raced", type=int, default=24, help="number of sheets, drawn at random, on which speed is measured"
    )
    parser.add_argument("--held-out", action="store_true", help="score only every third patent")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    with (arguments.folder / "truth" / "dev.jsonl").open(encoding="utf-8") as lines:
        truths = [json.loads(line) for line in lines]
    if arguments.held_out:
        held_out = set(sorted({truth["patent"] for truth in truths})[2::3])
        truths = [truth for truth in truths if truth["patent"] in held_out]
    sheets = sheets_of(arguments.folder, truths)
    splits = {file: split_sheet(read_sheet(data, name=file)) for file, data in sheets.items()}
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    scorer = _scorer(arguments.folder)
    raced = random.Random(0).sample(sorted(sheets), min(arguments.num_raced, len(sheets)))
    result = {
        "bench": "views",
        "held_out": arguments.held_out,
        "accuracy": accuracy(truths, splits, scorer),
        "confidence": confidence(truths, splits, scorer),
        "peak_memory_mb": int(np.ceil(peak_mb)),
        **(race([sheets[name] for name in raced]) if raced else {}),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
