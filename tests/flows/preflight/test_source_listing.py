"""What a source offers and what the data folder holds of it."""

from flows.preflight.source_listing import list_source
from flows.weeks import WeeksConfig
from patentdata.archives import kept
from patentdata.archives.designs import ArchivesConfig
from patentdata.archives.sources import list_weeks
from patentdata.archives.stage import keep_archive
from patentdata.store.folder import DataFolder
from tests.patentdata.archives.red_book import design, tar_of

KEPT, GONE, MISSING = "I20240102", "I20240109", "I20240116"


def states(config: WeeksConfig) -> dict[str, str]:
    return {week.week: week.state for week in list_source(config).weeks}


def test_each_week_is_here_missing_changed_or_not_offered_by_the_rule_of_the_stage(tmp_path, monkeypatch):
    source, folder = tmp_path / "source", DataFolder(tmp_path / "data")
    source.mkdir()
    for week in (KEPT, GONE, MISSING):
        (source / f"{week}.tar").write_bytes(tar_of(dict([design()])))
    for archive in list_weeks(str(source)):
        if archive.week != MISSING:
            keep_archive(folder, archive, ArchivesConfig())
    (source / f"{GONE}.tar").unlink()

    config = WeeksConfig(data_dir=folder.url, source=str(source))
    assert states(config) == {KEPT: "here", GONE: "not offered", MISSING: "missing"}
    other_bounds = WeeksConfig(data_dir=folder.url, source=str(source), archives=ArchivesConfig(max_entries=4_999))
    assert states(other_bounds)[KEPT] == "changed"
    monkeypatch.setattr(kept, "ARCHIVES_VERSION", kept.ARCHIVES_VERSION + 1)
    assert states(config)[KEPT] == "changed"


def test_what_the_source_cannot_give_is_a_problem_of_the_listing(tmp_path):
    (tmp_path / "source" / MISSING / "DESIGN").mkdir(parents=True)
    (tmp_path / "source" / f"{KEPT}.tar").write_bytes(tar_of(dict([design()])))
    listing = list_source(WeeksConfig(data_dir=str(tmp_path / "data"), source=str(tmp_path / "source")))
    (problem,) = listing.problems
    assert problem.startswith(f"{MISSING} is unpacked in ") and listing.to_dict()["problems"] == listing.problems
