"""Evaluation: a model and a dataset in, `evaluation.json` and `report.html` out.

`evaluation.json` is written last and names the report's hash, so that it marks a finished evaluation.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.clip import Clip, choose_device, find_model, fingerprint_clip, load_clip
from model.data import Views, read_views
from model.dataset import Dataset, open_dataset
from model.done import evaluation_identity, finished_results
from model.embed import Features, features_of
from model.errors import ConfigError, ModelError
from model.evaluation_config import EvaluationConfig
from model.files import held_alone, sha256_of_file, write_json, write_text
from model.metrics import TIE_RULE, TIE_TOLERANCE
from model.report import Example, Found, render_report
from model.retrieval import (
    DIRECTIONS,
    Queries,
    chance,
    choose_queries,
    curve,
    measure,
    nearest,
    rank_both_ways,
)
from model.run import RunFolder, read_metrics
from model.source import ModelSource, fingerprint_source

__all__ = ["EvaluationConfig", "evaluate"]

_POSITIVES_RULE = "a view answers a query where its caption is the query's, letter for letter"
_NUM_SHOWN = 4  # candidates beside each example


@dataclass(frozen=True)
class Contestant:
    """A model under measurement, loaded when it is first needed.

    Attributes:
        name: For people; holds no path, so that equal models give equal pages.
        fingerprint: Stands for its weights and its architecture.
        run_dir: The training run it belongs to, where that is known.
    """

    name: str
    source: ModelSource
    fingerprint: str
    run_dir: Path | None
    device: torch.device
    loaded: Clip | None = None

    def load(self) -> Clip:
        return self.loaded or load_clip(self.source, device=self.device)

    def load_untrained(self, seed: int) -> Clip:
        """The same architecture with fresh weights."""
        return load_clip(self.source, device=self.device, load_weights=False, seed=seed)


def evaluate(
    model: str | Path, dataset_dir: str | Path, out_dir: str | Path, config: EvaluationConfig | None = None
) -> dict[str, Any]:
    """Measure a model; an evaluation that is done and intact is given back at once.

    Args:
        model: A run folder, its model/ folder, "local-dir:FOLDER", "hf-hub:NAME", or "ARCHITECTURE/TAG".
        dataset_dir: Folder with `dataset.json` and its Parquet files.
        out_dir: Gets `evaluation.json`, `report.html` and `embeddings/`.
        config: What to measure; the defaults where None.

    Returns:
        What `evaluation.json` holds.

    Raises:
        ModelError: The model, the dataset or the device cannot be used, or the split is empty.
    """
    config = config or EvaluationConfig()
    dataset = open_dataset(dataset_dir)
    contestant = find_contestant(model, choose_device(config.device))
    identity = evaluation_identity(contestant.fingerprint, contestant.run_dir, dataset, config)
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    with held_alone(out_dir):
        results = finished_results(out_dir, identity)
        if results is None:
            views = read_views(dataset, config.split)
            results, examples = _measure_retrieval(contestant, dataset, views, out_dir, config)
            results = {"stage": "evaluation", "identity": identity, **results}
            losses = read_metrics(RunFolder(contestant.run_dir).metrics) if contestant.run_dir else []
            write_text(out_dir / "report.html", render_report(results, examples, losses))
            results["files"] = {"report.html": sha256_of_file(out_dir / "report.html")}
            write_json(out_dir / "evaluation.json", results)
    return results


def find_contestant(model: str | Path, device: torch.device) -> Contestant:
    """Resolve the name of a model; one that is not local is loaded to take its fingerprint."""
    source = find_model(model)
    fingerprint = fingerprint_source(source) if source.folder is not None else None
    loaded = None
    if fingerprint is None:
        loaded = load_clip(source, device=device)
        fingerprint = fingerprint_clip(loaded)
    return Contestant(source.label, source, fingerprint, source.run_dir, device, loaded)


def _measure_retrieval(
    contestant: Contestant, dataset: Dataset, views: Views, out_dir: Path, config: EvaluationConfig
) -> tuple[dict[str, Any], dict[str, list[Example]]]:
    texts = views.texts(config.caption)
    queries = choose_queries(texts, views.patent_numbers, max_queries=config.max_queries, seed=config.seed)
    features = _features(contestant, dataset, views, out_dir, config, is_untrained=False)
    untrained = _features(contestant, dataset, views, out_dir, config, is_untrained=True)
    ranks = rank_both_ways(features, queries, device=contestant.device, chunk_size=config.chunk_size)
    untrained_ranks = rank_both_ways(untrained, queries, device=contestant.device, chunk_size=config.chunk_size)
    figures = functools.partial(
        measure,
        patents=queries.patents,
        cutoffs=config.cutoffs,
        num_resamples=config.num_resamples,
        seed=config.seed,
    )
    by_direction = {
        direction: {
            "num_queries_without_positive": int((ranks[direction] == 0).sum()),
            "model": figures(ranks[direction]),
            "untrained": figures(untrained_ranks[direction]),
            "chance": {"recall": chance(queries.num_right, len(views), config.cutoffs)},
            "curves": {
                "model": curve(ranks[direction], len(views)),
                "untrained": curve(untrained_ranks[direction], len(views)),
                "chance": _chance_curve(queries, len(views)),
            },
        }
        for direction in DIRECTIONS
    }
    results = {
        "model": {
            "name": contestant.name,
            "fingerprint": contestant.fingerprint,
            "embed_dim": int(features.images.shape[1]),
        },
        "dataset": {"name": dataset.name, "fingerprint": dataset.fingerprint},
        "config": config.result_settings,
        "retrieval": {
            "split": views.split,
            "num_queries": len(queries.rows),
            "gallery_size": len(views),
            "num_patents": len(set(views.patent_numbers)),
            "num_distinct_captions": len(set(texts)),
            "num_without_caption": views.num_without_caption,
            "mean_positives": float(queries.num_right.mean()),
            "captions_holding_title": _share_holding_title(texts, views.captions["title"]),
            "positives_rule": _POSITIVES_RULE,
            "tie_rule": f"{TIE_RULE}; scores within {TIE_TOLERANCE:g} are tied",
            "interval": f"95 %, bootstrap over patents, {config.num_resamples} resamples",
            **by_direction,
        },
    }
    return results, {
        direction: _choose_examples(direction, ranks[direction], features, queries, views, texts, config.num_examples)
        for direction in DIRECTIONS
    }


def _features(
    contestant: Contestant,
    dataset: Dataset,
    views: Views,
    out_dir: Path,
    config: EvaluationConfig,
    *,
    is_untrained: bool,
) -> Features:
    identity = {
        "model": contestant.fingerprint,
        "untrained_seed": config.seed if is_untrained else None,
        "dataset": dataset.fingerprint,
        "split": views.split,
        "caption": config.caption,
    }
    return features_of(
        out_dir / "embeddings" / f"{views.split}{'-untrained' if is_untrained else ''}.parquet",
        views,
        identity=identity,
        load=functools.partial(contestant.load_untrained, config.seed) if is_untrained else contestant.load,
        caption=config.caption,
        batch_size=config.batch_size,
        num_workers=config.num_workers,
    )


def _chance_curve(queries: Queries, num_candidates: int) -> dict[str, list[float]]:
    cutoffs = [int(k) for k in curve(np.ones(1, dtype=np.int64), num_candidates)["k"]]
    expected = chance(queries.num_right, num_candidates, cutoffs)
    return {"k": [float(k) for k in cutoffs], "recall": [expected[str(k)] for k in cutoffs]}


def _share_holding_title(texts: list[str], titles: list[str | None]) -> float:
    holding = [bool(title) and str(title).lower() in text.lower() for text, title in zip(texts, titles, strict=True)]
    return sum(holding) / len(holding)


def _first_of_each(places: list[int], groups: np.ndarray) -> list[int]:
    """The places whose group has not come before, in their order."""
    first: dict[int, int] = {}
    for place in places:
        first.setdefault(int(groups[place]), place)
    return list(first.values())


def _choose_examples(
    direction: str,
    ranks: np.ndarray,
    features: Features,
    queries: Queries,
    views: Views,
    texts: list[str],
    num_examples: int,
) -> list[Example]:
    """The best and the worst queries of one direction, each caption once, with what was found for them.

    The worst are those that something wrong came before; there may be none.
    """
    order = [int(place) for place in np.argsort(ranks, kind="stable") if ranks[place] > 0]
    groups = queries.groups[queries.rows]
    best = _first_of_each(order, groups)[:num_examples]
    worst = _first_of_each([place for place in reversed(order) if ranks[place] > 1], groups)[:num_examples]
    asks, answers = (features.texts, features.images)
    shown_once = None
    if direction == "image_to_text":
        asks, answers, shown_once = answers, asks, queries.groups  # a caption is shown once, however many views have it
    examples = []
    for end, places in (("best", best), ("worst", worst)):
        for place in places:
            row = int(queries.rows[place])
            found = [
                Found(
                    view_id=views.view_ids[other],
                    text=texts[other],
                    jpeg=views.images[other],
                    score=score,
                    is_right=bool(queries.groups[other] == queries.groups[row]),
                )
                for other, score in nearest(asks[row], answers, _NUM_SHOWN, groups=shown_once)
            ]
            examples.append(
                Example(end, views.view_ids[row], texts[row], views.images[row], int(ranks[place]), tuple(found))
            )
    return examples


def main(arguments: list[str] | None = None) -> int:
    """Evaluate as a program: the result as one JSON line on stdout; 1 and one sentence where it fails."""
    parser = argparse.ArgumentParser(prog="python -m model.evaluate", description=evaluate.__doc__)
    parser.add_argument("--model", required=True, help="run folder, local-dir:FOLDER, hf-hub:NAME, ARCHITECTURE/TAG")
    parser.add_argument("--dataset", type=Path, required=True, help="folder with dataset.json")
    parser.add_argument("--out", type=Path, required=True, help="folder for evaluation.json and report.html")
    parser.add_argument("--config", type=Path, help="JSON file of settings; without it, the defaults")
    options = parser.parse_args(arguments)
    try:
        results = evaluate(options.model, options.dataset, options.out, EvaluationConfig.from_file(options.config))
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    print(json.dumps({"summary": results}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
