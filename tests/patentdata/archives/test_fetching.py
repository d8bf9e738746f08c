"""Whose archive is fetched when, and when a source is left in peace."""

import pytest

from patentdata.archives.downloads import DownloadsConfig
from patentdata.archives.fetching import FetchQueue, num_at_once
from patentdata.archives.kept import state_of_offer
from patentdata.archives.weekly_archive import WeeklyArchive
from patentdata.errors import ArchiveError, OutputError, SourceDownError

ARCHIVE = WeeklyArchive(week="I20240102", revision=0, file_name="I20240102.tar", url="https://host/I20240102.tar")
DOWN = SourceDownError("the host is out of order (503) for I20240102.tar; given up after 2 tries, run again later")


def test_so_many_weeks_are_fetched_at_once_and_the_others_in_their_order():
    fetching = FetchQueue(2)
    assert [fetching.begins(week) for week in "abcd"] == [True, True, False, False]
    assert (fetching.ended(None), fetching.ended(None), fetching.ended(None)) == (["c"], ["d"], [])
    assert [fetching.begins(week) for week in "ef"] == [True, False]


@pytest.mark.parametrize("error", [DOWN, OutputError("cannot write data/archives/I.tar: No space left on device")])
def test_after_five_failures_in_a_row_nothing_more_is_fetched_and_a_sentence_says_why(error):
    fetching = FetchQueue(1)
    waiting = list("abcdefgh")
    assert [fetching.begins(week) for week in waiting] == [True] + [False] * 7
    assert [fetching.ended(error) for _ in range(4)] == [["b"], ["c"], ["d"], ["e"]]
    assert fetching.stop_reason is None
    assert fetching.ended(error) == ["f", "g", "h"]
    assert fetching.stop_reason == f"not fetched, since 5 weeks in a row failed, the last so: {error}"


def test_a_week_that_comes_between_ends_the_row_and_one_that_is_no_archive_is_no_failure_of_the_source():
    fetching = FetchQueue(1)
    for error in (DOWN, DOWN, DOWN, DOWN, ArchiveError("I20240102.tar is empty; fetch it again"), None) * 3:
        fetching.ended(error)
    assert fetching.stop_reason is None


def test_a_week_behind_one_that_failed_is_asked_for_briefly_until_one_comes():
    fetching = FetchQueue(1)
    assert fetching.asked_for(ARCHIVE) is ARCHIVE
    fetching.ended(DOWN)
    brief = fetching.asked_for(ARCHIVE).downloads
    assert (brief.attempts, brief.patience_s) == (2, 60.0)
    assert brief.wait_max_s == DownloadsConfig().wait_max_s
    fetching.ended(None)
    assert fetching.asked_for(ARCHIVE) is ARCHIVE


def test_the_portal_gives_one_week_at_a_time_and_others_as_many_as_there_are_workers():
    of_portal = WeeklyArchive(**vars(ARCHIVE) | {"product": "PTGRDT"})
    assert (num_at_once([ARCHIVE, of_portal], 8), num_at_once([ARCHIVE], 8)) == (1, 8)


@pytest.mark.parametrize(
    ("noted", "read_to", "whole", "state"),
    [
        ({}, "end mark", False, "here"),
        ({}, "end of DESIGN", False, "here"),
        ({}, "end of DESIGN", True, "changed"),
        ({"revision": 1, "file_name": "I20240102_r1.tar"}, "end of DESIGN", False, "here"),  # a newer issue
        ({"etag": "another"}, "end mark", False, "changed"),
    ],
)
def test_what_is_offered_is_held_against_the_note_of_what_is_here(noted, read_to, whole, state):
    offered = WeeklyArchive(**vars(ARCHIVE) | {"etag": "this"})
    note = {"source": offered.stated() | noted, "complete": {"read_to": read_to}}
    assert state_of_offer(offered, note, whole=whole) == state


def test_what_is_not_here_is_missing_and_what_is_not_there_is_not_offered():
    assert state_of_offer(ARCHIVE, None, whole=False) == "missing"
    assert state_of_offer(None, {}, whole=False) == "not offered"
    assert state_of_offer(ARCHIVE, {"source": None}, whole=False) == "changed"
