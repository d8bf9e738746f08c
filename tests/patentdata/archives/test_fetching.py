"""Which archive is fetched when, and when a source is left alone."""

import pytest

from patentdata.archives.downloads import DownloadsConfig
from patentdata.archives.fetching import FetchQueue, num_at_once
from patentdata.archives.sources import AccessConfig
from patentdata.archives.weekly_archive import WeeklyArchive
from patentdata.errors import ArchiveError, OutputError, SourceClosedError, SourceDownError

ARCHIVE = WeeklyArchive(week="I20240102", revision=0, file_name="I20240102.tar", url="https://host/I20240102.tar")
DOWN = SourceDownError("the host is out of order (503) for I20240102.tar; given up after 2 tries, run again later")
USUAL = AccessConfig()


def test_as_many_weeks_as_allowed_are_fetched_at_once_and_the_others_in_their_order():
    fetch_queue = FetchQueue(2)
    assert [fetch_queue.begins(week) for week in "abcd"] == [True, True, False, False]
    assert (fetch_queue.ended(None), fetch_queue.ended(None), fetch_queue.ended(None)) == (["c"], ["d"], [])
    assert [fetch_queue.begins(week) for week in "ef"] == [True, False]


@pytest.mark.parametrize("error", [DOWN, OutputError("cannot write data/archives/I.tar: No space left on device")])
def test_after_five_failures_in_a_row_nothing_more_is_fetched_and_a_sentence_says_why(error):
    fetch_queue = FetchQueue(1)
    assert [fetch_queue.begins(week) for week in "abcdefgh"] == [True] + [False] * 7
    assert [fetch_queue.ended(error) for _ in range(4)] == [["b"], ["c"], ["d"], ["e"]]
    assert fetch_queue.stop_reason is None
    assert fetch_queue.ended(error) == ["f", "g", "h"]
    assert fetch_queue.stop_reason == f"skipped: 5 consecutive weeks failed, the last one: {error}"


def test_a_source_that_refuses_further_requests_is_not_asked_again():
    fetch_queue = FetchQueue(1)
    assert [fetch_queue.begins(week) for week in "abc"] == [True, False, False]
    closed = SourceClosedError("the portal received too many requests (429); it asks to wait 2 days, run again later")
    assert fetch_queue.ended(closed) == ["b", "c"]
    assert fetch_queue.stop_reason == f"skipped: the source accepts no further requests at present: {closed}"


def test_a_week_fetched_in_between_ends_the_row_and_a_broken_archive_does_not_count():
    fetch_queue = FetchQueue(1)
    for error in (DOWN, DOWN, DOWN, DOWN, ArchiveError("I20240102.tar is empty; fetch it again"), None) * 3:
        fetch_queue.ended(error)
    assert fetch_queue.stop_reason is None


def test_a_week_after_one_that_failed_is_fetched_with_little_patience_until_one_succeeds():
    fetch_queue = FetchQueue(1)
    assert fetch_queue.access(USUAL) is USUAL
    fetch_queue.ended(DOWN)
    brief = fetch_queue.access(USUAL)
    assert (brief.downloads.attempts, brief.downloads.patience_s) == (2, 60.0)
    assert (brief.downloads.wait_max_s, brief.portal) == (DownloadsConfig().wait_max_s, USUAL.portal)
    fetch_queue.ended(None)
    assert fetch_queue.access(USUAL) is USUAL


def test_the_portal_is_asked_for_one_week_at_a_time_and_other_sources_for_as_many_as_there_are_workers():
    of_portal = WeeklyArchive(**vars(ARCHIVE) | {"product": "PTGRDT"})
    assert (num_at_once([ARCHIVE, of_portal], 8), num_at_once([ARCHIVE], 8)) == (1, 8)
