"""The soak in small: two weeks, one kill."""

import pytest

from bench.soak import Soak, soak

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_a_walk_that_is_killed_while_a_week_is_issued_again_ends_with_the_bytes_of_an_undisturbed_one(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("DESIGNCLIP_CACHE", str(tmp_path / "cache"))
    settings = Soak(num_patents=4, num_weeks=2, kill_every_s=1.0, max_kills=1, trains=False)
    result = soak(settings, tmp_path)
    assert result["same_bytes"] and result["num_kills"] == 1
    assert (result["processes_left"], result["shared_memory_left"], result["files_left"]) == ([], 0, [])
    assert result["peak_mb"]["undisturbed"]["command"] > 50
    assert (tmp_path / "source" / "I20240109_r1.tar").is_file()
