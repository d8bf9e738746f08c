"""The fixed class tables."""

from __future__ import annotations

import json

import pytest

from model.dataset.classes import LOCARNO, USPC, ClassTable, class_table
from model.errors import ConfigError
from patentdata import classes


@pytest.mark.parametrize(
    ("table", "titles", "num"), [(USPC, classes.USPC_TITLES, 33), (LOCARNO, classes.LOCARNO_TITLES, 32)]
)
def test_the_tables_equal_those_of_the_dataset_writer(table, titles, num):
    assert len(table) == num
    assert list(zip(table.codes, table.titles, strict=True)) == list(titles.items())


@pytest.mark.parametrize("code", USPC.codes)
def test_every_design_class_has_the_same_index_as_in_the_dataset_writer(code):
    assert USPC.index_of(code) == classes.uspc_index(code)


@pytest.mark.parametrize(
    ("code", "index"),
    [("D1", 0), ("D30", 29), ("D32", 30), ("D34", 31), ("D99", 32), ("D14/138AD", 13), ("d6", 5)]
    + [(code, -1) for code in (None, "", "D31", "D0", "D", "D100", "14", "428/156", "none")],
)
def test_a_class_outside_the_uspc_table_has_index_minus_one(code, index):
    assert USPC.index_of(code) == index


@pytest.mark.parametrize(
    ("code", "index"),
    [("06", 5), ("06-01", 5), ("0601", 5), ("6", 5), ("6-01", 5), ("601", 5), ("32-00", 31), ("14.02", 13)]
    + [(code, -1) for code in (None, "", "00", "33", "99-99", "D14", "06-", "06-011", "0601 bottles")],
)
def test_a_locarno_subclass_counts_as_its_class(code, index):
    assert LOCARNO.index_of(code) == index


def test_many_codes_become_indices_at_once():
    assert USPC.indices_of(["D2", None, "D99"]).tolist() == [1, -1, 32]


def test_a_table_survives_a_round_trip_through_json():
    for table in (USPC, LOCARNO):
        assert ClassTable.from_dict(json.loads(json.dumps(table.to_dict()))) == table
        assert class_table(table.scheme) is table


def test_the_error_for_an_unknown_classification_lists_the_known_ones():
    with pytest.raises(ConfigError, match=r"class_scheme is 'cpc'; use one of uspc, locarno"):
        class_table("cpc")
