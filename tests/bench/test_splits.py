"""The benchmark of planning a split, in small."""

import pytest

from bench import splits
from patentdata.store.folder import DataFolder


@pytest.mark.slow
def test_the_split_of_made_up_grants_is_planned_with_families_in_all_splits_and_its_memory_is_reported():
    result = splits.measure(num_weeks=12, num_patents=100)
    assert result["num_train"] + result["num_validation"] + result["num_test"] + result["num_left_out"] == 1200
    assert min(result["num_validation"], result["num_test"]) > 0
    assert result["largest_family"] > 2 and result["num_families"] < 1200
    assert 10 < result["peak_mb"] < 600 and result["seconds"] > 0


def test_made_up_grants_are_the_same_for_one_seed_and_differ_for_another(tmp_path):
    folders = [DataFolder(tmp_path / name) for name in ("one", "same", "other")]
    for folder, seed in zip(folders, (0, 0, 1), strict=True):
        splits.write_grants(folder, 2, 20, seed=seed)
    one, same, other = (
        [folder.fs.cat_file(path) for path in sorted(folder.fs.find(folder.root))] for folder in folders
    )
    assert one == same and one != other
