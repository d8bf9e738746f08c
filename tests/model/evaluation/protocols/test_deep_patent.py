"""DeepPatent: its lists, its drawings imported as a dataset, and its protocol."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from torchmetrics.functional.retrieval import retrieval_average_precision

import model.evaluation.evaluate
from model.dataset.deep_patent_images import DeepPatentConfig, import_deep_patent
from model.dataset.deep_patent_lists import ListedImage, parse_list, read_lists
from model.dataset.folder import open_dataset
from model.dataset.images import decode_grey
from model.dataset.views import read_views
from model.errors import ConfigError, DatasetError
from model.evaluation.config import EvaluationConfig
from model.evaluation.evaluate import evaluate
from model.evaluation.measures.metrics import Answers, all_ranks, scores_of_features
from model.evaluation.measures.result_table import find_value
from model.evaluation.protocols.deep_patent import copies_in_database
from tests.model.dataset.deep_patent_folder import WEEK, listed_path, write_deep_patent, write_list
from tests.model.dataset.drawings import draw_rows, write_dataset

pytestmark = pytest.mark.slow

GOOD = listed_path(834581, 1)
CONFIG = EvaluationConfig(tasks=("deep_patent",), num_resamples=50, num_examples=1, device="cpu", batch_size=16)
SCHEMA = json.loads((Path(model.evaluation.evaluate.__file__).parent / "evaluation.schema.json").read_text())


@pytest.mark.parametrize(
    ("text", "patent_number", "sheet", "label"),
    [
        (f"{GOOD} 1\n", "D834581", 1, 1),
        (f"{GOOD}\t17\r\n", "D834581", 1, 17),
        (f"\n  {GOOD}   2  \n\n", "D834581", 1, 2),
        ("patent_data/I20200107/USD0871979-20200107/USD0871979-20200107-D00000.PNG 31", "D871979", 0, 31),
        ("my drawings/USD1000001-20231003-D00012.tif 5", "D1000001", 12, 5),
    ],
)
def test_a_line_names_a_drawing_and_the_number_of_its_patent(text, patent_number, sheet, label):
    (image,) = parse_list(text, source="list.txt")

    assert (image.patent_number, image.sheet, image.label) == (patent_number, sheet, label)
    assert image.view_id == f"{patent_number}-{sheet}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"^list.txt: the list is empty; get it from DeepPatent's data folder again$"),
        (
            f"{GOOD} 1\n{GOOD}\n",
            r"^list.txt, line 2: 'I2018.*png' does not end in the number of a patent; expected a line such",
        ),
        (f"{GOOD} one", "line 1: .* does not end in the number of a patent"),
        (f"{GOOD} -1", "line 1: .* does not end in the number of a patent"),
        (f"{GOOD},1", "line 1: .* does not end in the number of a patent"),
        ("queries/000123.png 1", "line 1: 'queries/000123.png' is not a patent drawing below the image folder"),
        (f"../{GOOD} 1", "line 1: .* is not a patent drawing below the image folder"),
        (f"/{GOOD} 1", "line 1: .* is not a patent drawing below the image folder"),
        (
            f"{GOOD} 1\n{listed_path(7, 1)} 1",
            "line 2: D7 has the number 1, but earlier that was D834581; use the",
        ),
        (f"{GOOD} 1\n{listed_path(834581, 2)} 2", "line 2: D834581 has the number 2, but earlier it had 1; use the"),
    ],
)
def test_any_other_line_is_refused_with_file_and_line(text, message):
    with pytest.raises(DatasetError, match=message):
        parse_list(text, source="list.txt")


def test_lists_of_two_splits_are_refused(tmp_path):
    write_list(tmp_path / "test_query_patent.txt", [(5, 0)])
    write_list(tmp_path / "test_db_patent.txt", [(6, 1)])

    with pytest.raises(DatasetError, match=r"test_db_patent.txt, line 1: D6 has the number 1, but earlier that was"):
        read_lists(tmp_path, "test")


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_an_unreadable_list_is_named(tmp_path, content):
    write_list(tmp_path / "test_query_patent.txt", [(5, 0)])
    if content:
        (tmp_path / "test_db_patent.txt").write_bytes(content)

    with pytest.raises(DatasetError, match=r"test_db_patent.txt"):
        read_lists(tmp_path, "test")


def test_a_list_may_begin_with_a_byte_order_mark(tmp_path):
    write_list(tmp_path / "train_patent_trn.txt", [(5, 0), (5, 1)])
    path = tmp_path / "train_patent_trn.txt"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())

    assert [image.sheet for image in read_lists(tmp_path, "train")["train"]] == [0, 1]


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> tuple[Path, Path]:
    return write_deep_patent(tmp_path_factory.mktemp("deep-patent"), train=8)


@pytest.fixture(scope="module")
def imported(published, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("datasets") / "deep-patent"
    import_deep_patent(*published, folder, DeepPatentConfig(splits=("train", "test"), images_per_file=10))
    return folder


@pytest.fixture
def own(published, tmp_path) -> tuple[Path, Path]:
    """A copy of lists and images that a test may damage."""
    return tuple(Path(shutil.copytree(folder, tmp_path / folder.name)) for folder in published)


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


def test_every_listed_drawing_becomes_a_row_in_the_order_of_the_lists(imported):
    dataset = open_dataset(imported)
    views = read_views(dataset, "test")

    assert dataset.num_views == {"train": 40, "test": 30} and not dataset.is_captioned
    assert views.view_ids[:3] == ["D800000-1", "D800000-2", "D800001-1"]
    assert views.column("role") == ["query"] * 12 + ["database"] * 18
    assert views.view_ids[12:15] == ["D800000-0", "D800000-3", "D800000-4"]
    assert decode_grey(views.images[0]).shape == (136, 136)  # 96 × 136 px, padded and not enlarged
    assert views.texts("text")[0] == ""


def test_large_drawings_are_padded_and_shrunk_by_area(own, tmp_path):
    import cv2

    lists, images = own
    page = np.full((900, 1200), 255, np.uint8)
    page[:, 598:602] = 0
    cv2.imwrite(str(images / listed_path(800_000, 1)), page)
    import_deep_patent(lists, images, tmp_path / "d", DeepPatentConfig(size_px=64))
    drawing = decode_grey(read_views(open_dataset(tmp_path / "d"), "test").images[0]).astype(int)

    assert drawing.shape == (64, 64)
    assert (drawing[:6] > 245).all() and (drawing[-6:] > 245).all()  # 150 px of padding above and below
    assert drawing[32].sum() == pytest.approx(64 * 255 - 255 * 4 * 64 / 1200, abs=120)  # no ink is lost


def test_missing_and_broken_images_are_left_out_and_counted(own, tmp_path):
    lists, images = own
    (images / listed_path(800_000, 1)).unlink()
    (images / listed_path(800_001, 0)).write_bytes(b"no picture")
    whole = (images / listed_path(800_002, 3)).read_bytes()
    (images / listed_path(800_002, 3)).write_bytes(whole[: len(whole) // 2])
    with (lists / "test_db_patent.txt").open("a") as file:
        file.write(f"{listed_path(800_003, 4)} 4\n{listed_path(800_004, 2)} 5\n")
    made = import_deep_patent(lists, images, tmp_path / "d")

    assert made["lists"]["test"]["query"] == {
        "file": "test_query_patent.txt",
        "num_in": 12,
        "num_out": 11,
        "dropped": {"missing_image": 1},
    }
    assert made["lists"]["test"]["database"]["dropped"] == {
        "also_a_query": 1,
        "listed_twice": 1,
        "unreadable_image": 2,
    }
    for entry in made["lists"]["test"].values():
        assert entry["num_in"] == entry["num_out"] + sum(entry["dropped"].values())
    assert len(read_views(open_dataset(tmp_path / "d"), "test")) == 11 + 16


def test_a_folder_without_any_of_the_images_is_an_error_that_says_what_to_name(published, tmp_path):
    with pytest.raises(DatasetError, match=f"none of the 30 images .* name the folder that contains {WEEK}"):
        import_deep_patent(published[0], tmp_path, tmp_path / "d")
    assert not (tmp_path / "d").exists()


def test_an_interrupted_import_resumes_and_ends_with_the_same_bytes(published, imported, tmp_path):
    class InterruptionError(Exception):
        pass

    def interrupt(num_done, _num_all, _values):
        if num_done >= 20:
            raise InterruptionError

    config = DeepPatentConfig(splits=("train", "test"), images_per_file=10, num_workers=1)
    with pytest.raises(InterruptionError):
        import_deep_patent(*published, tmp_path / "deep-patent", config, progress=interrupt)
    assert not (tmp_path / "deep-patent" / "dataset.json").exists()
    times = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "deep-patent").glob("*.parquet")}
    import_deep_patent(*published, tmp_path / "deep-patent", config)

    assert len(times) == 2
    assert hashes(tmp_path / "deep-patent") == hashes(imported)
    assert all((tmp_path / "deep-patent" / name).stat().st_mtime_ns == time for name, time in times.items())


def test_a_finished_import_is_reused_and_a_damaged_or_changed_one_is_repeated(own, tmp_path):
    lists, images = own
    folder = tmp_path / "d"
    made = import_deep_patent(lists, images, folder, DeepPatentConfig(images_per_file=10))
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert import_deep_patent(lists, images, folder, DeepPatentConfig(images_per_file=10)) == made
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before

    path = folder / "test-00001-of-00003.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 255
    path.write_bytes(data)
    assert import_deep_patent(lists, images, folder, DeepPatentConfig(images_per_file=10)) == made
    (images / listed_path(800_000, 1)).unlink()
    changed = import_deep_patent(lists, images, folder, DeepPatentConfig(images_per_file=10))
    assert changed["fingerprint"] != made["fingerprint"]
    import_deep_patent(lists, images, folder, DeepPatentConfig(images_per_file=100))
    assert sorted(path.name for path in folder.glob("*.parquet")) == ["test-00000-of-00001.parquet"]


def test_another_dataset_is_not_overwritten(published, tmp_path):
    folder = write_dataset(tmp_path / "designs", {"test": draw_rows(2, split="test")})

    with pytest.raises(ConfigError, match="designs contains another dataset; choose another name"):
        import_deep_patent(*published, folder)


@pytest.fixture(scope="module")
def measured(imported, micro_clip, tmp_path_factory) -> dict:
    config = dataclasses.replace(CONFIG, against=micro_clip)
    return evaluate(micro_clip, imported, tmp_path_factory.mktemp("evaluation") / "out", config)


def test_the_protocol_is_measured_with_and_without_front_pages_and_with_baselines(measured, imported):
    jsonschema.validate(measured, SCHEMA)
    tables = measured["tasks"]["deep_patent"]["tables"]
    official, without = tables["official"], tables["without_front_pages"]

    assert official["terms"]["num_queries"] == 12 and official["terms"]["gallery_size"] == 18
    assert without["terms"]["num_queries"] == 12 and without["terms"]["gallery_size"] == 12
    assert official["terms"]["mean_positives"] == 3 and without["terms"]["mean_positives"] == 2
    for table in (official, without):
        assert set(table["figures"]) == {"mAP", "top-1", "top-5", "top-10"}
        assert {"model", "untrained", "against", "difference", "chance"} <= set(table["figures"]["mAP"])
    for name, curves in measured["tasks"]["deep_patent"]["curves"].items():
        top_10 = curves["model"]["recall"][curves["model"]["k"].index(10)]
        assert top_10 == pytest.approx(tables[name]["figures"]["top-10"]["model"]["value"])
    notes = " ".join(official["terms"]["notes"])
    assert "6 of 12 queries (50.0%) are D00000 or D00001 with the other one in the database" in notes
    assert "query list test_query_patent.txt: 12 of 12 images" in notes
    assert [(row["figure"], row["value"]) for row in official["published"]] == [
        ("mAP", 0.856),
        ("mAP", 0.935),
    ]
    assert without["published"] == []


def test_front_pages_are_removed_from_both_lists(own, micro_clip, tmp_path):
    lists, images = own
    write_list(lists / "test_query_patent.txt", [(800_000 + n, sheet) for n in range(6) for sheet in (0, 1)])
    write_list(lists / "test_db_patent.txt", [(800_000 + n, sheet) for n in range(6) for sheet in (2, 3)])
    import_deep_patent(lists, images, tmp_path / "d")
    results = evaluate(micro_clip, tmp_path / "d", tmp_path / "out", CONFIG)
    tables = results["tasks"]["deep_patent"]["tables"]

    assert tables["official"]["terms"]["num_queries"] == 12
    assert tables["without_front_pages"]["terms"]["num_queries"] == 6
    assert "0 of 12 queries (0.0%) are D00000" in " ".join(tables["official"]["terms"]["notes"])


def test_a_query_counts_as_a_copy_only_if_the_other_one_of_the_two_sheets_is_in_the_database():
    assert copies_in_database(["D1-1", "D1-0", "D2-0", "D10-0"], {"D1-0", "D2-10", "D10-1"}) == ["D1-1", "D10-0"]


def test_other_tasks_give_the_reason_why_a_dataset_without_captions_is_not_enough(imported, micro_clip, tmp_path):
    config = dataclasses.replace(
        CONFIG, tasks=("retrieval", "zero_shot", "image_retrieval", "prior_art", "deep_patent")
    )
    tasks = evaluate(micro_clip, imported, tmp_path / "out", config)["tasks"]

    status = {name: section["status"] for name, section in tasks.items()}
    assert status == {
        "retrieval": "not_available",
        "zero_shot": "not_available",
        "prior_art": "not_available",
        "image_retrieval": "measured",
        "deep_patent": "measured",
    }
    assert tasks["retrieval"]["reason"] == "the views of deep-patent have no captions"


def test_with_another_dataset_the_reason_says_how_to_import_deep_patent(shapes, micro_clip, tmp_path):
    section = evaluate(micro_clip, shapes, tmp_path / "out", CONFIG)["tasks"]["deep_patent"]

    assert (
        section["status"] == "not_available" and "make such a dataset with designclip deep-patent" in section["reason"]
    )


def test_features_are_stored_and_reused(imported, micro_clip, tmp_path, monkeypatch):
    evaluate(micro_clip, imported, tmp_path / "one", CONFIG)
    monkeypatch.setattr("model.clip.encoder.load_clip", None)  # a model that is loaded fails the test
    results = evaluate(micro_clip, imported, tmp_path / "two", dataclasses.replace(CONFIG, cutoffs=(3,)))

    assert find_value(results, "deep_patent/official/top-3")["model"]["value"] > 0


def brute_force(similarity: np.ndarray, right: np.ndarray) -> float:
    """Mean average precision by sorting each row, wrong candidates first if scores are equal."""
    precisions = []
    for scores, is_right in zip(similarity, right, strict=True):
        if is_right.any():
            hits = is_right[np.lexsort((is_right, -scores))]
            precisions.append((np.cumsum(hits)[hits] / (np.flatnonzero(hits) + 1)).mean())
    return float(np.mean(precisions))


def drawn_features(seed: int, num: int, *, is_tied: bool) -> torch.Tensor:
    generator = np.random.default_rng(seed)
    features = generator.integers(-1, 2, (num, 3)) if is_tied else generator.standard_normal((num, 8))
    return torch.from_numpy(features.astype(np.float32))


def average_precisions(queries, database, query_patents, database_patents, **options) -> np.ndarray:
    answers = Answers.by_group(query_patents, database_patents)
    ranks = all_ranks(scores_of_features(queries, database), answers, len(database), **options)
    return ranks.average_precision[answers.num_right > 0]


@pytest.mark.parametrize("is_tied", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_average_precision_equals_a_brute_force_computation_in_any_order_of_the_database(seed, is_tied):
    generator = np.random.default_rng(100 + seed)
    queries, database = drawn_features(seed, 30, is_tied=is_tied), drawn_features(seed + 50, 90, is_tied=is_tied)
    query_patents, database_patents = generator.integers(0, 14, 30), generator.integers(0, 12, 90)
    right = query_patents[:, None] == database_patents[None]
    found = average_precisions(queries, database, query_patents, database_patents)
    order = generator.permutation(90)

    assert found.mean() == pytest.approx(brute_force((queries @ database.T).numpy(), right))
    shuffled = average_precisions(queries, database[order], query_patents, database_patents[order])
    assert shuffled == pytest.approx(found, abs=1e-12)
    chunked = [
        average_precisions(queries[n : n + 7], database, query_patents[n : n + 7], database_patents)
        for n in range(0, 30, 7)
    ]
    assert np.concatenate(chunked) == pytest.approx(found, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_average_precision_equals_that_of_two_other_libraries_without_ties(seed):
    generator = np.random.default_rng(seed)
    queries, database = drawn_features(seed, 20, is_tied=False), drawn_features(seed + 50, 60, is_tied=False)
    queries, database = (torch.nn.functional.normalize(features) for features in (queries, database))
    query_patents, database_patents = generator.integers(0, 6, 20), np.arange(60) % 6
    found = average_precisions(queries, database, query_patents, database_patents)
    outside = AccuracyCalculator(include=("mean_average_precision",), k=60).get_accuracy(
        queries, torch.from_numpy(query_patents), database, torch.from_numpy(database_patents)
    )
    similarity = queries @ database.T + 2  # torchmetrics ignores right candidates that score 0 or less
    by_torchmetrics = [
        float(retrieval_average_precision(row, torch.from_numpy(database_patents == patent)))
        for row, patent in zip(similarity, query_patents, strict=True)
    ]

    assert found.mean() == pytest.approx(outside["mean_average_precision"], abs=1e-6)
    assert found == pytest.approx(np.array(by_torchmetrics), abs=1e-6)


def test_a_listed_image_is_named_like_the_views_of_other_datasets():
    assert ListedImage(GOOD, "D834581", 0, 1, 1).view_id == "D834581-0"
