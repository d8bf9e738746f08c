"""The GPU benchmark also runs on a CPU, up to its table."""

from __future__ import annotations

import json
import time

import pytest
import torch

from bench import gpu


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DESIGNCLIP_CACHE", str(tmp_path / "cache"))


@pytest.mark.slow
def test_a_quick_run_measures_our_training_and_open_clips_and_writes_both(tmp_path, capsys, cache):
    gpu.main(["--quick", "--device", "cpu", "--out", str(tmp_path)])

    shown = capsys.readouterr().out
    written = json.loads((tmp_path / "gpu.json").read_text())
    parts = {part["part"]["what"]: part for part in written["parts"]}
    assert list(parts) == ["clip", "open_clip", "embedding", "ranks", "designclip"]
    assert all(part["images_per_s"] > 0 for part in parts.values())
    assert [what for what, part in parts.items() if part["waiting"] is not None] == ["clip", "designclip"]
    assert 0 < parts["embedding"]["ratio"] < 2 and parts["ranks"]["ratio"] is None
    assert written["left_out"] == []
    assert "× reference" in shown and "designclip-tiny" in shown


def test_without_time_every_part_is_skipped_and_listed(tmp_path, capsys, cache):
    gpu.main(["--device", "cpu", "--quick", "--minutes", "0", "--out", str(tmp_path)])

    written = json.loads((tmp_path / "gpu.json").read_text())
    assert written["parts"] == []
    assert written["left_out"][0] == "designclip-tiny clip: no time left"
    assert "left out: designclip-tiny designclip: no time left" in capsys.readouterr().out


@pytest.mark.slow
def test_a_part_that_runs_out_of_memory_does_not_affect_the_others(tmp_path, monkeypatch):
    def measure_part(_plan, part, _dataset, _run_dir):
        if part.what == "open_clip":
            raise torch.OutOfMemoryError
        return gpu.Speed(part=part, images_per_s=5.0, num_steps=3)

    monkeypatch.setattr(gpu, "measure_part", measure_part)
    parts = gpu.parts_of({"ViT-B-32": 8})
    plan = gpu.Plan(torch.device("cpu"), parts, 0.0, num_warm_up=1, num_views=4, until=time.monotonic() + 1000)
    gpu.measure(plan, tmp_path, lambda _: None, lambda: None)

    assert [speed.part.name for speed in plan.speeds] == [
        "ViT-B-32 clip",
        "ViT-B-32 embedding",
        "ranks",
        "ViT-B-32 clip, compiled",
        "ViT-B-32 designclip",
    ]
    assert plan.left_out == [f"ViT-B-32 open_clip{how}: out of memory" for how in ("", ", compiled")]
