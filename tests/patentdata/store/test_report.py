"""The balance of a report."""

import pytest

from patentdata.errors import ReconciliationError
from patentdata.store.report import Report


def test_a_report_balances_if_all_that_came_in_went_out_or_was_left_out():
    report = Report("views", "I20240102")
    tally = report.tally("sheets")
    tally.num_in, tally.num_out = 4, 1
    tally.drop("sheet_without_ink", "D900001 sheet 2")
    tally.leave_out("not_wanted", 2)
    report.check()
    assert tally.dropped == {"not_wanted": 2, "sheet_without_ink": 1}


def test_a_sheet_lost_without_a_reason_is_an_error_that_names_stage_and_week():
    report = Report("views", "I20240102")
    report.tally("sheets").num_in = 2
    with pytest.raises(ReconciliationError, match="views I20240102: 2 sheets came in, but 0 went out and 0 were"):
        report.check()


def test_a_report_can_be_written_to_json_and_read_back():
    report = Report("views", "I20240102")
    report.tally("sheets").num_in = 2
    report.tally("sheets").drop("broken_sheet", "D900001 sheet 1", "not a TIFF")
    report.tally("sheets").leave_out("not_wanted")
    report.count("flag_two_labels", 3)
    assert Report.from_dict(report.to_dict()) == report
