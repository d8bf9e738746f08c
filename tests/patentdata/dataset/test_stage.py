"""The frozen dataset."""

import datetime
import hashlib
import json
import logging

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from patentdata.captions.described import TemplateCaptioner
from patentdata.dataset.config import DatasetConfig
from patentdata.dataset.selection import SelectionConfig
from patentdata.dataset.splits import SplitConfig
from patentdata.dataset.stage import build_dataset, finish_dataset, freeze_week, plan_dataset
from patentdata.errors import ConfigError, EmptyDatasetError, OutputError
from patentdata.store import schemas
from patentdata.store.folder import DataFolder
from patentdata.store.parquet import Provenance, write_table
from patentdata.store.report import Report
from patentdata.views.square_images import TrainingImageConfig

pytestmark = pytest.mark.slow

TUESDAY = datetime.date(2021, 1, 5)
CONFIG = DatasetConfig(image=TrainingImageConfig(size_px=64), split=SplitConfig(test_share=0.3, validation_share=0.2))


def week_name(week):
    return f"I{TUESDAY + datetime.timedelta(weeks=week):%Y%m%d}"


def grant(number, week):
    cited = [("D428532", "examiner", "US"), ("D400001", "applicant", "US"), ("6123456", "examiner", "US")]
    return {
        "patent_number": f"D{number}",
        "grant_date": TUESDAY + datetime.timedelta(weeks=week),
        "title": f"Chair {number}",
        "application_number": f"29{number}",
        "uspc_class": "D6",
        "locarno_class": "06-01",
        "applicants": ["Jane Doe"],
        "assignees": ["Acme, Inc."] if number % 100 == 20 else None,
        "citations": [{"number": n, "category": category, "country": country} for n, category, country in cited],
    }


def png(seed):
    page = np.full((300, 200), 255, np.uint8)
    cv2.circle(page, (100, 150), 20 + seed % 60, 0, 3)
    return cv2.imencode(".png", page)[1].tobytes()


def view(number, week, figure, **changes):
    row = {
        "view_id": f"D{number}-{figure}",
        "patent_number": f"D{number}",
        "grant_date": TUESDAY + datetime.timedelta(weeks=week),
        "figure_label": str(figure),
        "viewpoint": "front",
        "image": png(number + figure),
        "is_front_page": figure == 0,
        "score": 0.9,
        "flags": [],
    } | changes
    return row | {"image_sha256": hashlib.sha256(row["image"]).hexdigest()}


def same(row):
    return row


def write_week(folder, week, numbers, *, change_grant=same, change_view=same, change_caption=same):
    """Grants, views (a front page and two figures a patent) and captions of one week."""
    grants = [change_grant(grant(number, week)) for number in numbers]
    views = [change_view(view(number, week, figure)) for number in numbers for figure in (0, 1, 2)]
    by_number = {row["patent_number"]: row for row in grants}
    captions = TemplateCaptioner().caption(
        {**row, "viewpoint_direction": None, **by_number[row["patent_number"]]} for row in views
    )
    tables = {
        "grants": (schemas.GRANTS, grants),
        "views": (schemas.VIEWS, views),
        "captions": (schemas.CAPTIONS, [row for row in map(change_caption, captions) if row]),
    }
    for stage, (schema, rows) in tables.items():
        path = folder.path(stage, f"{week_name(week)}.parquet")
        write_table(folder, path, schema, [rows], Provenance(stage=stage, version=1), Report(stage))
    return week_name(week)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DESIGNCLIP_CACHE", str(tmp_path / "cache"))
    return DataFolder(tmp_path / "data")


@pytest.fixture
def weeks(folder):
    """Three weeks of twelve patents, none related to another."""
    return [write_week(folder, week, range(900000 + 1000 * week, 900240 + 1000 * week, 20)) for week in range(3)]


def files(folder, name="designs"):
    """File name → bytes and time of change."""
    return {
        name_: ((path := folder.path("datasets", name, name_)) and folder.fs.cat_file(path), folder.fs.modified(path))
        for name_ in folder.names("datasets", name)
    }


def contents(folder):
    return {name: data for name, (data, _) in files(folder).items()}


def manifest(folder):
    return json.loads(contents(folder)["dataset.json"])


def rows(folder):
    return [row for file in manifest(folder)["files"] for row in read(folder, file["name"])]


def read(folder, file_name):
    return pq.read_table(folder.path("datasets", "designs", file_name)).to_pylist()


def test_every_captioned_view_enters_the_dataset_except_front_pages(folder, weeks):
    report = build_dataset(folder, weeks, CONFIG)
    tally = report.tallies["views"]
    assert (tally.num_in, tally.num_out, tally.dropped) == (108, 72, {"front_page": 36})
    assert (report.tallies["patents"].num_in, report.tallies["patents"].num_out) == (36, 36)
    assert sorted(row["view_id"] for row in rows(folder)) == sorted(
        f"D{900000 + 1000 * week + 20 * i}-{figure}" for week in range(3) for i in range(12) for figure in (1, 2)
    )


def test_a_row_has_the_caption_the_classes_and_a_square_grey_jpeg(folder, weeks):
    build_dataset(folder, weeks, CONFIG)
    row = next(row for row in rows(folder) if row["view_id"] == "D900020-1")
    assert list(row) == schemas.DATASET.names
    assert row["text"] == "Front view of a chair 900020, classed under furnishings"
    assert (row["uspc_class"], row["locarno_class"], row["captioner"]) == ("D6", "06-01", "described")
    owners = {row["patent_number"][-2:] == "20": row["owners"] for row in rows(folder)}
    assert owners == {True: ["Acme, Inc."], False: ["Jane Doe"]}  # applicants where there is no assignee
    assert row["cited_by_examiner"] == ["D428532"]
    image = cv2.imdecode(np.frombuffer(row["image"], np.uint8), cv2.IMREAD_UNCHANGED)
    assert image.shape == (64, 64) and image.min() < 128
    assert row["image_sha256"] == hashlib.sha256(png(900021)).hexdigest()


def test_each_file_has_the_views_of_one_week_and_split_in_order(folder, weeks):
    build_dataset(folder, weeks, CONFIG)
    for file in manifest(folder)["files"]:
        table = read(folder, file["name"])
        assert file["name"] == f"{file['split']}-{file['week']}.parquet"
        assert {(row["split"], f"I{row['grant_date']:%Y%m%d}") for row in table} == {(file["split"], file["week"])}
        assert [row["view_id"] for row in table] == sorted(row["view_id"] for row in table)


def test_a_patent_is_in_one_split(folder, weeks):
    build_dataset(folder, weeks, CONFIG)
    assert len({(row["patent_number"], row["split"]) for row in rows(folder)}) == 36


def test_dataset_json_lists_files_hashes_counts_classes_and_the_split_rule(folder, weeks):
    report = build_dataset(folder, weeks, CONFIG)
    frozen = manifest(folder)
    for file in frozen["files"]:
        data = contents(folder)[file["name"]]
        assert (file["num_bytes"], file["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
        assert file["num_rows"] == len(read(folder, file["name"]))
    assert sum(frozen["num_views"].values()) == 72 and sum(frozen["num_patents"].values()) == 36
    assert frozen["counts"]["uspc_class"]["train"] == {"D6": frozen["num_views"]["train"]}
    assert frozen["counts"]["locarno_class"]["test"] == {"06": frozen["num_views"]["test"]}
    assert frozen["counts"]["viewpoint"]["test"] == {"front": frozen["num_views"]["test"]}
    assert frozen["dropped"]["views"] == {"front_page": 36}
    assert len(frozen["classes"]["uspc"]) == 33 and len(frozen["classes"]["locarno"]) == 32
    assert frozen["classes"]["uspc"][5] == {"symbol": "D6", "title": "Furnishings"}
    assert "seed 0: test 0.3" in frozen["split_rule"]
    assert frozen["weeks"] == weeks and frozen["report"] == report.to_dict() and frozen["notes"] == []


def test_a_dataset_that_is_done_is_left_alone_and_gives_the_same_report(folder, weeks, caplog):
    report = build_dataset(folder, weeks, CONFIG)
    before = files(folder)
    caplog.set_level(logging.INFO, "patentdata")
    caplog.clear()
    assert build_dataset(folder, list(reversed(weeks)), CONFIG) == report
    assert files(folder) == before
    assert caplog.messages == ["dataset designs: skipped, it is done"]


def test_the_bytes_do_not_depend_on_the_number_of_threads(folder, weeks, tmp_path):
    build_dataset(folder, weeks, CONFIG, num_threads=1)
    other = DataFolder(tmp_path / "other")
    for week in range(3):
        write_week(other, week, range(900000 + 1000 * week, 900240 + 1000 * week, 20))
    build_dataset(other, weeks, CONFIG, num_threads=4)
    assert contents(other) == contents(folder)


def rewritten(before, after):
    return sorted(name for name in after if before.get(name) != after[name])


def test_a_deleted_file_is_written_again_and_no_other(folder, weeks):
    build_dataset(folder, weeks, CONFIG)
    before = files(folder)
    lost = manifest(folder)["files"][1]["name"]
    folder.remove(folder.path("datasets", "designs", lost))
    build_dataset(folder, weeks, CONFIG)
    assert rewritten(before, files(folder)) == sorted(["dataset.json", lost])
    assert contents(folder) == {name: data for name, (data, _) in before.items()}


@pytest.mark.parametrize("position", [0.02, 0.5, 0.98])
def test_an_altered_byte_is_noticed_and_the_file_written_again(folder, weeks, position):
    build_dataset(folder, weeks, CONFIG)
    before = files(folder)
    altered = manifest(folder)["files"][0]["name"]
    data = bytearray(before[altered][0])
    data[int(len(data) * position)] ^= 1
    folder.fs.pipe_file(folder.path("datasets", "designs", altered), bytes(data))
    build_dataset(folder, weeks, CONFIG)
    assert rewritten(before, files(folder)) == sorted(["dataset.json", altered])
    assert contents(folder) == {name: data for name, (data, _) in before.items()}


def test_an_altered_dataset_json_is_written_again(folder, weeks):
    build_dataset(folder, weeks, CONFIG)
    before = contents(folder)
    path = folder.path("datasets", "designs", "dataset.json")
    folder.fs.pipe_file(path, before["dataset.json"].replace(b'"train"', b'"test"', 1))
    build_dataset(folder, weeks, CONFIG)
    assert contents(folder) == before


def test_an_interrupted_build_resumes_with_the_files_already_written(folder, weeks):
    def interrupt(num_done, _num_weeks):
        if num_done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_dataset(folder, weeks, CONFIG, progress=interrupt)
    halfway = files(folder)
    assert "dataset.json" not in halfway and {name.split("-")[1] for name in halfway} == {
        f"{week}.parquet" for week in weeks[:2]
    }
    build_dataset(folder, weeks, CONFIG)
    after = files(folder)
    assert {name: after[name] for name in halfway} == halfway
    folder.fs.rm(folder.path("datasets"), recursive=True)
    build_dataset(folder, weeks, CONFIG)
    assert contents(folder) == {name: data for name, (data, _) in after.items()}


def test_an_interrupted_rebuild_leaves_no_outdated_dataset_json(folder, weeks):
    build_dataset(folder, weeks, CONFIG)

    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_dataset(folder, weeks, DatasetConfig(image=TrainingImageConfig(size_px=32)), progress=interrupt)
    assert "dataset.json" not in files(folder)


def test_weeks_that_are_frozen_in_any_order_give_the_same_bytes_and_the_same_report(folder, weeks):
    report = build_dataset(folder, weeks, CONFIG)
    expected = contents(folder)
    folder.fs.rm(folder.path("datasets"), recursive=True)
    plan, planned = plan_dataset(folder, weeks, CONFIG)
    frozen = [freeze_week(folder, week, CONFIG) for week in reversed(planned)]
    assert finish_dataset(folder, plan, frozen, CONFIG) == report
    assert finish_dataset(folder, plan, frozen, CONFIG) == report, "a second try counts nothing twice"
    assert contents(folder) == expected


def test_a_dataset_that_is_to_be_another_is_not_done_from_the_plan_on(folder, weeks):
    build_dataset(folder, weeks, CONFIG)
    assert plan_dataset(folder, weeks, CONFIG)[1] == [] and "dataset.json" in files(folder)
    before = contents(folder)
    _, planned = plan_dataset(folder, weeks[:2], CONFIG)
    assert [week.week for week in planned] == weeks[:2]
    assert contents(folder).keys() == before.keys() - {"dataset.json"}
    build_dataset(folder, weeks, CONFIG)
    assert contents(folder) == before


def test_a_dataset_that_cannot_be_planned_stays_as_it_was(folder, weeks):
    build_dataset(folder, weeks, CONFIG)
    before = files(folder)
    older = write_week(folder, 3, [907000], change_caption=lambda row: row | {"image_sha256": "0" * 64})
    with pytest.raises(OutputError, match="D907000-1: its caption was made from an older image"):
        build_dataset(folder, [*weeks, older], CONFIG)
    assert files(folder) == before


def test_a_rebuild_with_another_seed_equals_a_first_build_with_it(folder, weeks):
    other_seed = DatasetConfig(image=CONFIG.image, split=SplitConfig(seed=1, test_share=0.3, validation_share=0.2))
    build_dataset(folder, weeks, other_seed)
    expected = contents(folder)
    folder.fs.rm(folder.path("datasets"), recursive=True)
    build_dataset(folder, weeks, CONFIG)
    assert contents(folder) != expected
    build_dataset(folder, weeks, other_seed)
    assert contents(folder) == expected


def test_the_order_of_the_weeks_does_not_matter(folder, weeks):
    build_dataset(folder, [*reversed(weeks), weeks[0]], CONFIG)
    expected = contents(folder)
    folder.fs.rm(folder.path("datasets"), recursive=True)
    build_dataset(folder, weeks, CONFIG)
    assert contents(folder) == expected


def test_another_image_size_rewrites_every_file(folder, weeks):
    build_dataset(folder, weeks, CONFIG)
    before = files(folder)
    build_dataset(folder, weeks, DatasetConfig(image=TrainingImageConfig(size_px=32), split=CONFIG.split))
    assert rewritten(before, files(folder)) == sorted(before)


def test_a_new_week_does_not_rewrite_the_files_of_the_others(folder, weeks):
    build_dataset(folder, weeks, CONFIG)
    before = files(folder)
    new = write_week(folder, 3, range(907000, 907240, 20))
    build_dataset(folder, [*weeks, new], CONFIG)
    assert all(new in name or name == "dataset.json" for name in rewritten(before, files(folder)))
    assert before.keys() < files(folder).keys()


def test_files_of_a_week_that_is_no_longer_included_are_removed(folder, weeks):
    build_dataset(folder, weeks, CONFIG)
    build_dataset(folder, weeks[:1], CONFIG)
    assert all(weeks[0] in name or name == "dataset.json" for name in files(folder))


def test_a_stray_file_is_removed(folder, weeks):
    build_dataset(folder, weeks, CONFIG)
    before = contents(folder)
    folder.fs.pipe_file(folder.path("datasets", "designs", "train-I19990105.parquet"), b"stray")
    build_dataset(folder, weeks, CONFIG)
    assert contents(folder) == before


def test_views_that_cannot_be_used_are_counted_by_reason(folder):
    changes = {
        "D900000-1": {"image": b"no PNG at all"},
        "D900000-2": {"image": cv2.imencode(".png", np.full((9, 9), 255, np.uint8))[1].tobytes()},
        "D900020-1": {"score": 0.1},
        "D900020-2": {"flags": ["two_labels"]},
    }

    def change_view(row):
        row = row | changes.get(row["view_id"], {})
        return row | {"image_sha256": hashlib.sha256(row["image"]).hexdigest()}

    def change_caption(row):
        if row["view_id"] == "D900040-1":
            return None
        return row | ({"text": None, "finish_reason": "timeout"} if row["view_id"] == "D900040-2" else {})

    week = write_week(
        folder, 0, [900000, 900020, 900040, 900060], change_view=change_view, change_caption=change_caption
    )
    config = DatasetConfig(selection=SelectionConfig(min_score=0.5, exclude_flags=("two_labels",)))
    for _ in range(2):  # the second time from dataset.json
        report = build_dataset(folder, [week], config)
        tally = report.tallies["views"]
        assert tally.dropped == {
            "flag_two_labels": 1,
            "front_page": 4,
            "low_score": 1,
            "no_caption": 2,
            "no_ink": 1,
            "unreadable_image": 1,
        }
        assert (tally.num_in, tally.num_out) == (12, 2)
        assert ("no_caption", "D900040-2", "timeout") in tally.drops
        assert report.tallies["patents"].dropped == {"no_view_left": 3}


def test_a_dataset_without_views_is_an_error_that_says_what_became_of_them_and_is_not_written(folder):
    week = write_week(folder, 0, [900000, 900020])
    config = DatasetConfig(selection=SelectionConfig(min_score=1.0))
    sentence = r"dataset designs would be empty: none of 2 patents and 6 views is left \(2 no_view_left, .*4 low_score"
    for _ in range(2):
        with pytest.raises(EmptyDatasetError, match=sentence):
            build_dataset(folder, [week], config)
        assert not folder.exists(folder.path("datasets", "designs", "dataset.json"))


def test_a_dataset_that_would_become_empty_stays_as_it_was(folder):
    week = write_week(folder, 0, [900000])
    build_dataset(folder, [week], CONFIG)
    before = {
        name: folder.sha256(folder.path("datasets", "designs", name)) for name in folder.names("datasets", "designs")
    }
    with pytest.raises(EmptyDatasetError):
        build_dataset(folder, [week], DatasetConfig(selection=SelectionConfig(min_score=1.0)))
    assert "dataset.json" in before and before == {
        name: folder.sha256(folder.path("datasets", "designs", name)) for name in folder.names("datasets", "designs")
    }


def test_a_patent_granted_in_two_weeks_counts_once(folder):
    both = [write_week(folder, 0, [900000]), write_week(folder, 1, [900000, 900400])]
    report = build_dataset(folder, both, CONFIG)
    assert report.tallies["patents"].dropped == {"granted_in_an_earlier_week": 1}
    assert sorted(row["view_id"] for row in rows(folder)) == ["D900000-1", "D900000-2", "D900400-1", "D900400-2"]


def test_an_empty_split_is_noted_in_dataset_json(folder):
    build_dataset(folder, [write_week(folder, 0, [900000])], CONFIG)
    frozen = manifest(folder)
    empty = [split for split, num in frozen["num_views"].items() if not num]
    assert len(empty) == 2
    assert [note.split(":")[0] for note in frozen["notes"]] == [f"The split {split} is empty" for split in empty]


def test_a_caption_made_from_an_older_image_is_an_error(folder):
    week = write_week(folder, 0, [900000], change_caption=lambda row: row | {"image_sha256": "0" * 64})
    with pytest.raises(OutputError, match=r"D900000-1: its caption was made from an older image; run the captions"):
        build_dataset(folder, [week], CONFIG)


def test_a_missing_table_is_named(folder, weeks):
    folder.remove(folder.path("captions", f"{weeks[1]}.parquet"))
    with pytest.raises(OutputError, match=rf"captions/{weeks[1]}\.parquet is missing"):
        build_dataset(folder, weeks, CONFIG)


def test_settings_that_cannot_be_used_are_refused(folder):
    with pytest.raises(ConfigError, match="no week to make a dataset of"):
        build_dataset(folder, [], CONFIG)
    with pytest.raises(ConfigError, match="cannot be a folder"):
        DatasetConfig(name="../designs")
    with pytest.raises(ConfigError, match="min_score is 2"):
        SelectionConfig(min_score=2)
    with pytest.raises(ConfigError, match="give a list of flags"):
        SelectionConfig(exclude_flags="two_labels")


def test_hugging_face_datasets_reads_the_dataset_and_decodes_its_images(folder, weeks, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    build_dataset(folder, weeks, CONFIG)
    by_split = {}
    for file in manifest(folder)["files"]:
        by_split.setdefault(file["split"], []).append(folder.path("datasets", "designs", file["name"]))
    loaded = datasets.load_dataset("parquet", data_files=by_split, cache_dir=str(tmp_path / "hf"))
    assert {split: len(part) for split, part in loaded.items()} == manifest(folder)["num_views"]
    row = loaded["train"].cast_column("image", datasets.Image())[0]
    assert row["image"].size == (64, 64) and row["image"].mode == "L"
    assert row["cited_by_examiner"] == ["D428532"] and isinstance(row["grant_date"], datetime.date)


def test_duckdb_reads_the_dataset(folder, weeks):
    import duckdb

    build_dataset(folder, weeks, CONFIG)
    pattern = folder.path("datasets", "designs", "*.parquet")
    found = duckdb.sql(f"SELECT split, count(*), min(octet_length(image)) FROM '{pattern}' GROUP BY split").fetchall()
    assert {split: num for split, num, _ in found} == manifest(folder)["num_views"]
    assert all(num_bytes > 100 for _, _, num_bytes in found)


def test_pandas_reads_the_dataset(folder, weeks):
    import pandas

    build_dataset(folder, weeks, CONFIG)
    frame = pandas.concat(
        pandas.read_parquet(folder.path("datasets", "designs", file["name"])) for file in manifest(folder)["files"]
    )
    assert len(frame) == 72 and list(frame.columns) == schemas.DATASET.names
    assert frame["image"].iloc[0][:3] == b"\xff\xd8\xff"


def test_progress_is_reported_after_each_week(folder, weeks):
    reports = []
    build_dataset(folder, weeks, CONFIG, progress=lambda done, num: reports.append((done, num)))
    assert reports == [(1, 3), (2, 3), (3, 3)]


def test_a_row_says_what_is_unclaimed_and_has_an_image_of_what_is_claimed(folder):
    """One patent has surroundings, the other claims its stitching; both are drawn in broken lines."""
    explained = {
        "D900000": [{"lines": "broken", "meaning": "environment", "is_claimed": False, "figures": [], "text": ""}],
        "D900500": [{"lines": "broken", "meaning": "stitching", "is_claimed": True, "figures": [], "text": ""}],
    }
    week = write_week(
        folder,
        0,
        [900000, 900500],
        change_view=lambda row: row | {"broken_share": 0.25, "claimed_image": png(3)},
        change_grant=lambda row: row | {"claim_scope": explained[row["patent_number"]], "has_unclaimed_matter": True},
    )
    report = build_dataset(folder, [week], CONFIG)
    by_patent = {row["patent_number"]: row for row in rows(folder)}
    unclaimed, claimed = by_patent["D900000"], by_patent["D900500"]
    assert (unclaimed["has_unclaimed_lines"], claimed["has_unclaimed_lines"]) == (True, False)
    assert unclaimed["claimed_image"] and unclaimed["claimed_image"] != unclaimed["image"]
    assert len(unclaimed["claimed_box"]) == 4
    assert (claimed["claimed_image"], claimed["claimed_box"]) == (None, None)
    assert unclaimed["broken_share"] == claimed["broken_share"] == 0.25 and unclaimed["has_unclaimed_matter"]
    assert report.counts["claimed_images"] == 2
    assert build_dataset(folder, [week], CONFIG).counts == report.counts  # also if the files are kept
