"""Parquet files that say what made them and whether they are whole."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from patentdata.errors import OutputError, ReconciliationError
from patentdata.store import schemas
from patentdata.store.folder import DataFolder
from patentdata.store.parquet import (
    Provenance,
    describe_schema,
    fingerprint,
    is_done,
    open_table,
    read_provenance,
    read_report,
    write_table,
)
from patentdata.store.report import Report

PROVENANCE = Provenance(stage="captions", version=1, config={"words": ("a", "b")}, inputs={"views": "f" * 64})


def rows(num=3):
    return [dict.fromkeys(schemas.CAPTIONS.names) | {"view_id": f"D1-{i}", "num_tokens": i} for i in range(num)]


def written(folder, *, provenance=PROVENANCE, batches=None, report=None):
    path = folder.path("captions", "I20240102.parquet")
    write_table(
        folder, path, schemas.CAPTIONS, batches or [rows()], provenance, report or Report("captions", "I20240102")
    )
    return path


@pytest.fixture(params=["local", "memory"])
def folder(request, tmp_path):
    return DataFolder(tmp_path / "data" if request.param == "local" else f"memory://{tmp_path.name}")


def test_a_file_is_done_for_its_own_provenance_and_for_no_other(folder):
    path = written(folder)
    assert is_done(folder, path, PROVENANCE)
    for other in (
        Provenance(stage="captions", version=2, config=PROVENANCE.config, inputs=PROVENANCE.inputs),
        Provenance(stage="captions", version=1, config={"words": ("a",)}, inputs=PROVENANCE.inputs),
        Provenance(stage="captions", version=1, config=PROVENANCE.config, inputs={"views": "0" * 64}),
    ):
        assert not is_done(folder, path, other)


def test_equal_rows_provenance_and_reports_give_equal_bytes(folder):
    first = folder.fs.cat_file(written(folder))
    assert folder.fs.cat_file(written(folder)) == first


def test_a_change_of_any_byte_is_noticed(tmp_path):
    folder = DataFolder(tmp_path)
    path = written(folder)
    whole = Path(path).read_bytes()
    for at in range(0, len(whole), 97):
        data = bytearray(whole)
        data[at] ^= 1
        Path(path).write_bytes(data)
        assert not is_done(folder, path, PROVENANCE), at
    Path(path).write_bytes(whole)
    assert is_done(folder, path, PROVENANCE)


def test_other_programs_can_read_a_file(tmp_path):
    path = written(DataFolder(tmp_path))
    assert pq.read_table(path).column("view_id").to_pylist() == ["D1-0", "D1-1", "D1-2"]


def test_a_file_that_another_program_has_rewritten_is_not_done(tmp_path):
    folder = DataFolder(tmp_path)
    path = written(folder)
    table = pq.read_table(path)  # keeps the metadata of our footer
    pq.write_table(table.slice(1), path)
    assert not is_done(folder, path, PROVENANCE)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no parquet at all", b"PAR1" * 100])
def test_reading_a_file_of_garbage_is_an_error_that_names_it(tmp_path, content):
    folder = DataFolder(tmp_path)
    path = written(folder)
    Path(path).write_bytes(content)
    assert read_provenance(folder, path) is None
    with pytest.raises(OutputError, match=r"I20240102\.parquet is missing or damaged; run again"):
        fingerprint(folder, path)


def test_a_report_that_does_not_balance_leaves_no_file(folder):
    report = Report("captions", "I20240102")
    report.tally("views").num_in = 5
    with pytest.raises(ReconciliationError):
        written(folder, report=report)
    assert folder.names("captions") == []


def test_an_error_while_rows_are_made_leaves_the_old_file_as_it_was(folder):
    path = written(folder)
    before = folder.fs.cat_file(path)

    def failing():
        yield rows()
        raise ValueError("a row too many")

    with pytest.raises(ValueError, match="a row too many"):
        written(folder, batches=failing())
    assert folder.fs.cat_file(path) == before
    assert folder.names("captions") == ["I20240102.parquet"]


def test_a_report_filled_while_rows_are_written_is_in_the_footer(folder):
    report = Report("captions", "I20240102")

    def counted():
        for row in rows():
            report.tally("views").num_in += 1
            report.tally("views").num_out += 1
            yield [row]

    path = written(folder, batches=counted(), report=report)
    assert read_report(folder, path).tally("views").num_out == 3
    with open_table(folder, path) as table:
        assert table.num_row_groups == 3
        assert table.read().column("view_id").to_pylist() == ["D1-0", "D1-1", "D1-2"]


def test_the_fingerprint_depends_on_settings_and_rows(folder):
    first = fingerprint(folder, written(folder))
    other = Provenance(stage="captions", version=1, config={}, inputs=PROVENANCE.inputs)
    assert fingerprint(folder, written(folder, provenance=other)) != first
    assert fingerprint(folder, written(folder, batches=[rows(2)])) != first
    assert fingerprint(folder, written(folder)) == first


@pytest.mark.parametrize("schema", [schemas.GRANTS, schemas.VIEWS, schemas.CAPTIONS, schemas.DATASET])
def test_every_field_of_every_schema_says_what_it_means(schema: pa.Schema):
    assert [name for name, _, meaning in describe_schema(schema) if len(meaning) < 8] == []
