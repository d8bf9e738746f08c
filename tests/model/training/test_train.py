"""Runs that finish, stop, are killed, become stale, and resume."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from model.clip.embeddings import embed_images, embed_texts
from model.clip.loading import load_clip
from model.clip.saved_head import load_classifier, read_class_priors
from model.clip.source import ModelSource
from model.dataset.classes import PROMPTS, USPC
from model.dataset.folder import open_dataset
from model.dataset.images import ImageReader
from model.dataset.views import read_views
from model.errors import ConfigError, DatasetError, TrainingError, TrainingStoppedError
from model.evaluation.evaluate import EvaluationConfig, evaluate
from model.training import refit
from model.training.batches import BatchStream
from model.training.loop import TrainingLoop
from model.training.run.checkpoints import list_checkpoints
from model.training.run.folder import RunFolder
from model.training.run.metrics import read_metrics
from model.training.step.learner import Learner
from model.training.stop_signal import StopOnSignal
from model.training.train import main, train
from tests.model.dataset.drawings import draw_dataset, draw_rows, write_dataset

pytestmark = pytest.mark.slow


class StoppedError(Exception):
    """Raised at the point where a process would end."""


def stop_after(num_steps):
    def progress(step, _num_steps, _values):
        if step == num_steps:
            raise StoppedError

    return progress


COMMON = (  # settings of the small run that do not depend on the method
    *("architecture", "batch_size", "num_steps", "warmup_steps", "learning_rate"),
    *("checkpoint_every_steps", "device"),
)
NOT_PART_OF_THE_RESULT = {"timings.jsonl", "training.html"}  # speed differs from run to run


def bytes_of(folder: Path) -> dict[str, str]:
    """File → hash, for all files that are part of a run's result."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in NOT_PART_OF_THE_RESULT
    }


@pytest.fixture(scope="module")
def finished(shapes, tmp_path_factory, micro_config) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    train(shapes, folder, micro_config)
    return folder


@pytest.fixture
def uninterrupted(finished, tmp_path) -> Path:
    """A finished run that a test may damage."""
    return shutil.copytree(finished, tmp_path / "uninterrupted" / "run")


def test_a_run_writes_config_metrics_checkpoints_model_and_summary(shapes, uninterrupted):
    files = bytes_of(uninterrupted)

    assert sorted(files) == [
        "checkpoints/step-00000004.json",
        "checkpoints/step-00000004.pt",
        "checkpoints/step-00000006.json",
        "checkpoints/step-00000006.pt",
        "config.json",
        "metrics.jsonl",
        "model/README.md",
        "model/classifier.json",
        "model/classifier.safetensors",
        "model/open_clip_config.json",
        "model/open_clip_model.safetensors",
        "read_outs.json",
        "training.json",
    ]
    summary = json.loads((uninterrupted / "training.json").read_text())
    assert summary["num_steps"] == 6 and summary["batch_size"] == 8
    assert summary["dataset"]["num_views"] == 48 and summary["dataset"]["num_patents"] == 24
    assert summary["identity"]["dataset_fingerprint"] == open_dataset(shapes).fingerprint
    assert str(shapes) not in (uninterrupted / "training.json").read_text()


@pytest.mark.parametrize("num_steps", [1, 2, 5, 6])
def test_an_interrupted_run_ends_with_the_bytes_of_an_uninterrupted_one(
    shapes, tmp_path, micro_config, uninterrupted, num_steps
):
    with pytest.raises(StoppedError):
        train(shapes, tmp_path / "run", micro_config, progress=stop_after(num_steps))
    torch.rand(7)  # changes the global random state
    steps = []
    train(shapes, tmp_path / "run", micro_config, progress=lambda step, *_: steps.append(step))

    assert bytes_of(tmp_path / "run") == bytes_of(uninterrupted)
    assert steps == list(range(num_steps // 2 * 2 + 1, 7))  # resumed from the latest checkpoint


@pytest.mark.parametrize(
    "settings",
    [
        {"ema_decay": 0.9, "lora_rank": 2, "lora_dropout": 0.3},
        {"loss": "siglip", "micro_batch_size": 3, "max_grad_norm": 0.5},
        {"preset": "clip", "precision": "bf16", "frozen": ("text",)},
        {"sampler": "class", "class_scheme": "locarno", "divergence_factor": 2.0},
        {"preset": "lift", "lora_rank": 2, "lora_dropout": 0.3},
        {"logit_adjustment": 1.0, "classify_all_views": True, "refit_head": True, "ema_decay": 0.9},
    ],
)
def test_every_kind_of_trained_state_is_resumed_exactly(shapes, tmp_path, micro_config, settings):
    config = type(micro_config)(
        **{name: getattr(micro_config, name) for name in COMMON} | settings,
    )
    train(shapes, tmp_path / "whole" / "run", config)
    with pytest.raises(StoppedError):
        train(shapes, tmp_path / "parts" / "run", config, progress=stop_after(3))
    train(shapes, tmp_path / "parts" / "run", config)

    assert bytes_of(tmp_path / "parts" / "run") == bytes_of(tmp_path / "whole" / "run")


def test_drawn_images_are_the_same_after_an_interruption(surrounded, tmp_path, micro_config):
    config = dataclasses.replace(micro_config, image="both", num_steps=4)
    train(surrounded, tmp_path / "whole" / "run", config)
    with pytest.raises(StoppedError):
        train(surrounded, tmp_path / "run", config, progress=stop_after(3))
    train(surrounded, tmp_path / "run", config)
    assert bytes_of(tmp_path / "run") == bytes_of(tmp_path / "whole" / "run")


def test_training_on_one_view_of_each_patent_is_resumed_with_the_same_views(shapes, tmp_path, micro_config):
    config = dataclasses.replace(micro_config, views="one", multi_view_weight=0.0, num_steps=4)
    summary = train(shapes, tmp_path / "whole" / "run", config)
    assert summary["dataset"]["num_views"] == summary["dataset"]["num_patents"] == 24
    with pytest.raises(StoppedError):
        train(shapes, tmp_path / "run", config, progress=stop_after(3))
    train(shapes, tmp_path / "run", config)
    assert bytes_of(tmp_path / "run") == bytes_of(tmp_path / "whole" / "run")


def test_a_finished_run_is_returned_without_a_step_or_a_changed_file(shapes, uninterrupted, micro_config):
    times = {path: path.stat().st_mtime_ns for path in uninterrupted.rglob("*")}
    before = json.loads((uninterrupted / "training.json").read_text())

    summary = train(shapes, uninterrupted, micro_config, progress=stop_after(1))

    assert summary == before
    assert {path: path.stat().st_mtime_ns for path in uninterrupted.rglob("*")} == times


@pytest.mark.parametrize(
    "name",
    ["model/open_clip_model.safetensors", "model/README.md", "metrics.jsonl", "training.json", "config.json"],
)
@pytest.mark.parametrize("damage", ["removed", "altered"])
def test_a_missing_or_altered_output_is_made_again(shapes, uninterrupted, micro_config, name, damage):
    before = bytes_of(uninterrupted)
    path = uninterrupted / name
    if damage == "removed":
        path.unlink()
    else:
        path.write_bytes(b'{"step": 1}\n' + path.read_bytes()[:-3])

    train(shapes, uninterrupted, micro_config)

    assert bytes_of(uninterrupted) == before


def test_a_damaged_checkpoint_is_skipped_for_the_one_before(shapes, tmp_path, micro_config, uninterrupted):
    with pytest.raises(StoppedError):
        train(shapes, tmp_path / "run", micro_config, progress=stop_after(5))
    latest = tmp_path / "run" / "checkpoints" / "step-00000004.pt"
    latest.write_bytes(latest.read_bytes()[:-50] + bytes(50))
    steps = []
    train(shapes, tmp_path / "run", micro_config, progress=lambda step, *_: steps.append(step))

    assert steps[0] == 3
    assert bytes_of(tmp_path / "run") == bytes_of(uninterrupted)


@pytest.fixture(scope="module")
def grown(tmp_path_factory) -> Path:
    """A dataset of the same name with other patents."""
    return draw_dataset(tmp_path_factory.mktemp("grown") / "shapes", train=10)


def test_a_finished_run_is_not_replaced_unasked(shapes, grown, micro_config, uninterrupted):
    before = bytes_of(uninterrupted)
    other = dataclasses.replace(micro_config, batch_size=4, seed=1, beta=0.5, learning_rate=1e-3)
    for dataset, config, difference in (
        (grown, micro_config, "another dataset"),
        (shapes, dataclasses.replace(micro_config, batch_size=4), "batch_size 8, not 4"),
        (grown, other, "another dataset and beta 1.2, not 0.5 and .* and 1 more other settings"),
    ):
        message = rf"^run is a finished run with {difference}; choose another name with --run, or train with --replace"
        with pytest.raises(ConfigError, match=message):
            train(dataset, uninterrupted, config, progress=stop_after(1))
    with pytest.raises(ConfigError, match="batch_size 8, not 4"):
        train(grown, uninterrupted, dataclasses.replace(micro_config, batch_size=4), replace="same_settings")
    assert bytes_of(uninterrupted) == before


def test_an_unfinished_run_with_checkpoints_is_not_replaced_unasked_and_one_without_is(
    shapes, grown, tmp_path, micro_config
):
    with pytest.raises(StoppedError):
        train(shapes, tmp_path / "run", micro_config, progress=stop_after(1))
    with pytest.raises(StoppedError):  # no checkpoint yet, so nothing would be lost
        train(grown, tmp_path / "run", micro_config, progress=stop_after(3))
    with pytest.raises(ConfigError, match="run is an unfinished run with another dataset"):
        train(shapes, tmp_path / "run", micro_config)


@pytest.mark.parametrize("replace", ["same_settings", "any"])
def test_a_run_that_is_replaced_stays_until_the_new_one_is_finished(
    shapes, grown, tmp_path, micro_config, uninterrupted, replace
):
    (uninterrupted / "evaluation.json").write_text("{}")
    (uninterrupted / "embeddings").mkdir()
    before = bytes_of(uninterrupted)
    with pytest.raises(StoppedError):
        train(grown, uninterrupted, micro_config, replace=replace, progress=stop_after(3))
    assert bytes_of(uninterrupted) == before
    assert train(shapes, uninterrupted, micro_config)["stage"] == "training"  # still finished

    steps = []
    train(grown, uninterrupted, micro_config, replace=replace, progress=lambda step, *_: steps.append(step))
    train(grown, tmp_path / "fresh" / "run", micro_config)
    assert steps == [3, 4, 5, 6]  # resumed from its own checkpoint
    assert bytes_of(uninterrupted) == bytes_of(tmp_path / "fresh" / "run")  # without the old evaluation
    assert sorted(path.name for path in uninterrupted.parent.iterdir()) == ["run"]


@pytest.mark.parametrize("num_renames", [0, 1, 4, 7])
def test_a_replacement_that_is_interrupted_while_it_moves_in_is_completed(
    grown, tmp_path, micro_config, uninterrupted, monkeypatch, num_renames
):
    rename, moved = Path.replace, []

    def rename_some(path, target):
        if path.parent.parent.name == ".replacing" and not path.name.startswith("."):  # moves in
            if len(moved) == num_renames:
                raise StoppedError
            moved.append(path.name)
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", rename_some)
    with contextlib.suppress(StoppedError):
        train(grown, uninterrupted, micro_config, replace="any")
    assert len(moved) <= num_renames
    monkeypatch.setattr(Path, "replace", rename)

    summary = train(grown, uninterrupted, micro_config, progress=stop_after(1))
    train(grown, tmp_path / "fresh" / "run", micro_config)
    assert summary["dataset"]["num_views"] == 20
    assert bytes_of(uninterrupted) == bytes_of(tmp_path / "fresh" / "run")


def test_settings_that_only_change_speed_do_not_change_the_result(shapes, tmp_path, micro_config, uninterrupted):
    train(shapes, tmp_path / "run", dataclasses.replace(micro_config, num_workers=5))

    assert bytes_of(tmp_path / "run") == bytes_of(uninterrupted)


def test_a_run_that_is_asked_to_stop_writes_a_checkpoint_and_resumes_from_it(
    shapes, tmp_path, micro_config, uninterrupted
):
    config = dataclasses.replace(micro_config, checkpoint_every_steps=100)
    done = []
    with pytest.raises(TrainingStoppedError, match="stopped after step 3 of 6; run again to resume"):
        train(
            shapes,
            tmp_path / "run",
            config,
            progress=lambda step, *_: done.append(step),
            should_stop=lambda: len(done) == 2,
        )
    train(shapes, tmp_path / "run", config, progress=lambda step, *_: done.append(step))

    assert done == [1, 2, 3, 4, 5, 6]
    for name in ("metrics.jsonl", "training.json", "model/open_clip_model.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (uninterrupted / name).read_bytes()


def test_a_run_that_is_asked_to_stop_while_its_head_is_refitted_continues_with_the_next_views(
    shapes, tmp_path, micro_config, monkeypatch
):
    monkeypatch.setattr(refit, "_VIEWS_A_FILE", 20)
    config = dataclasses.replace(micro_config, refit_head=True)
    train(shapes, tmp_path / "whole" / "run", config)
    run = tmp_path / "parts" / "run"
    with pytest.raises(TrainingStoppedError, match="stopped while the head was refitted; run again to resume"):
        train(shapes, run, config, should_stop=lambda: (run / "refit" / "inputs-00001.npy").exists())
    times = {path.name: path.stat().st_mtime_ns for path in (run / "refit").iterdir()}
    read, rows_read = ImageReader.read_grey, []

    def read_grey(reader, rows, *arguments, **options):
        rows_read.extend(rows)
        return read(reader, rows, *arguments, **options)

    monkeypatch.setattr(ImageReader, "read_grey", read_grey)

    train(shapes, run, config)

    assert sorted(times) == ["identity.json", "inputs-00000.npy", "inputs-00001.npy"]
    # No step, and no training view a second time; then the validation views, for the page.
    assert rows_read == [*range(40, 48), *range(8)]
    assert bytes_of(run) == bytes_of(tmp_path / "whole" / "run")  # and nothing of the refit is left behind


def test_a_refit_changes_the_last_layer_alone(shapes, tmp_path, micro_config, uninterrupted):
    summary = train(shapes, tmp_path / "run", dataclasses.replace(micro_config, refit_head=True))
    folders = tmp_path / "run" / "model", uninterrupted / "model"
    weights, before = (safetensors.torch.load_file(folder / "classifier.safetensors") for folder in folders)

    assert {name for name in weights if not torch.equal(weights[name], before[name])} == {"out.weight", "out.bias"}
    towers = [(folder / "open_clip_model.safetensors").read_bytes() for folder in folders]
    assert towers[0] == towers[1]
    assert summary["refit"]["num_views"] == 48 and summary["refit"]["num_iterations"] > 0
    priors = read_class_priors(folders[0])
    occurs = priors.natural > 0
    assert priors.fitted[occurs].tolist() == [1 / occurs.sum()] * occurs.sum()
    # The refitted layer is better at the training views, at equal class prior.
    losses = [balanced_loss_of(folder, shapes) for folder in folders]
    assert summary["refit"]["loss"] == pytest.approx(losses[0], rel=1e-3)
    assert losses[0] < losses[1]


def balanced_loss_of(folder: Path, dataset: Path) -> float:
    """Cross-entropy of the classes of whole training views by the exported head, at the natural prior."""
    model, table = load_classifier(folder)
    views = read_views(open_dataset(dataset), "train")
    preprocess = load_clip(ModelSource(f"local-dir:{folder}")).preprocess
    with torch.inference_mode(), contextlib.closing(ImageReader(views, preprocess, num_workers=1)) as images:
        logits = model.classify(images.read(range(len(views)))).numpy()
    adjusted = torch.from_numpy(read_class_priors(folder).adjusted(logits, 0.0))
    return torch.nn.functional.cross_entropy(adjusted, torch.from_numpy(views.class_ids(table))).item()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_program_stops_on_a_signal_with_a_checkpoint_and_a_message(
    shapes, tmp_path, micro_config, capsys, monkeypatch, number
):
    (tmp_path / "config.json").write_text(json.dumps(micro_config.to_dict()))
    handlers = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    steps = []
    take = Learner.step

    def step_with_a_signal_at_the_third(*arguments, **options):
        steps.append(take(*arguments, **options))
        if len(steps) == 3:
            signal.raise_signal(number)
        return steps[-1]

    monkeypatch.setattr(Learner, "step", step_with_a_signal_at_the_third)

    arguments = ["--dataset", str(shapes), "--run", str(tmp_path / "run"), "--config", str(tmp_path / "config.json")]
    assert main(arguments) == 1
    assert capsys.readouterr().err == "error: stopped after step 3 of 6; run again to resume from there\n"
    assert list_checkpoints(tmp_path / "run" / "checkpoints") == [3, 2]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == handlers


def test_a_signal_before_the_first_step_ends_the_program_at_once(capsys):
    with pytest.raises(SystemExit) as ended, StopOnSignal():
        signal.raise_signal(signal.SIGTERM)

    assert ended.value.code == 128 + signal.SIGTERM
    assert capsys.readouterr().err == "error: stopped before the first step; run again to start\n"


@pytest.mark.slow
def test_the_page_shows_the_read_outs_of_the_head_on_validation_views(shapes, uninterrupted):
    curve = json.loads((uninterrupted / "read_outs.json").read_text())
    terms = {"split": "validation", "tasks": ("fine_tuned",), "untrained": False, "device": "cpu", "num_resamples": 20}
    measured = evaluate(uninterrupted, shapes, uninterrupted, EvaluationConfig(**terms, stop_on=()))
    expected = measured["tasks"]["fine_tuned"]["readouts"]["uspc_readouts"]

    assert curve["num_views"] == 8 and curve["tau"] == expected["tau"][: len(curve["tau"])] and curve["tau"][-1] == 1.25
    for line in ("classes", "views", *curve["thirds"]):
        assert (line in curve) == (line in expected)
        assert curve.get(line, []) == pytest.approx(expected.get(line, [])[: len(curve["tau"])])
    page = (uninterrupted / "training.html").read_text()
    assert "Read-outs of the head" in page and "natural, τ = 0" in page and "on 8 validation views" in page


def test_a_model_without_a_head_has_no_read_outs(shapes, tmp_path, micro_config):
    config = type(micro_config)(**{name: getattr(micro_config, name) for name in COMMON} | {"preset": "clip"})
    train(shapes, tmp_path / "run", config)
    assert not (tmp_path / "run" / "read_outs.json").exists()
    assert "Read-outs" not in (tmp_path / "run" / "training.html").read_text()


def test_stock_open_clip_loads_the_model_without_this_project(shapes, tmp_path, uninterrupted):
    views = read_views(open_dataset(shapes), "test")
    clip = load_clip(ModelSource(f"local-dir:{uninterrupted / 'model'}"))
    (tmp_path / "view.jpg").write_bytes(views.images[0])
    program = textwrap.dedent(
        """
        import json, sys
        import open_clip, torch
        from PIL import Image
        sys.path.clear()
        name = f"local-dir:{sys.argv[1]}"
        clip, _, preprocess = open_clip.create_model_and_transforms(name)
        clip.eval()
        with torch.inference_mode():
            text = clip.encode_text(open_clip.get_tokenizer(name)([sys.argv[2]]), normalize=True)
            image = clip.encode_image(preprocess(Image.open(sys.argv[3])).unsqueeze(0), normalize=True)
        print(json.dumps([text[0].tolist(), image[0].tolist(), sorted({name.split(".")[0] for name in sys.modules})]))
        """
    )
    result = subprocess.run(
        [sys.executable, "-I", "-c", program, uninterrupted / "model", views.texts("text")[0], tmp_path / "view.jpg"],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    text, image, modules = json.loads(result.stdout.splitlines()[-1])

    assert "model" not in modules and "patentdata" not in modules
    assert text == pytest.approx(embed_texts(clip, views.texts("text")[:1], batch_size=1)[0].tolist(), abs=1e-5)
    ours = torch.from_numpy(embed_images(clip, views, batch_size=4)[0])
    assert torch.dot(torch.tensor(image), ours) > 0.99  # open_clip shrinks bicubically, this project by area


def test_running_statistics_are_those_of_the_training_views_with_the_final_weights(shapes, tmp_path, micro_config):
    train(shapes, tmp_path / "run", dataclasses.replace(micro_config, architecture="designclip-tiny", num_steps=2))
    clip = load_clip(ModelSource(f"local-dir:{tmp_path / 'run' / 'model'}"))
    views = read_views(open_dataset(shapes), "train")
    visual = clip.model.visual
    with torch.no_grad(), contextlib.closing(ImageReader(views, clip.preprocess, num_workers=1)) as images:
        channels = visual.conv1(images.read(range(len(views))))  # (num_views, channels, height, width)

    assert visual.bn1.num_batches_tracked == 6
    assert visual.bn1.running_mean.tolist() == pytest.approx(channels.mean((0, 2, 3)).tolist(), abs=1e-4)


def test_a_cosine_head_starts_from_the_text_features_of_the_classes(shapes, tmp_path, micro_config):
    config = dataclasses.replace(micro_config, head="cosine", head_init="text")
    stream = BatchStream(read_views(open_dataset(shapes), "train"), config)

    loop = TrainingLoop(RunFolder(tmp_path), stream, torch.device("cpu"))

    clip = load_clip(ModelSource(micro_config.architecture), seed=config.seed)
    directions = loop.learner.towers.head.out.weight.detach().numpy()
    for index in (0, 13, 32):
        texts = [prompt.replace("{}", USPC.titles[index].lower()) for prompt in PROMPTS]
        mean = embed_texts(clip, texts, batch_size=len(texts)).mean(axis=0)
        assert directions[index] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)


def test_a_cosine_head_alone_needs_no_captions_and_leaves_the_text_tower_as_it_was(shapes, tmp_path, micro_config):
    config = dataclasses.replace(micro_config, head="cosine", contrastive_weight=0.0, multi_view_weight=0.0)
    train(shapes, tmp_path / "run", config)
    before = load_clip(ModelSource(micro_config.architecture), seed=config.seed).model.state_dict()
    after = load_clip(ModelSource(f"local-dir:{tmp_path / 'run' / 'model'}")).model.state_dict()

    changed = {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"visual"}


def test_training_in_bfloat16_keeps_its_weights_in_float32(shapes, tmp_path, micro_config):
    summary = train(shapes, tmp_path / "run", dataclasses.replace(micro_config, precision="bf16"))
    weights = load_clip(ModelSource(f"local-dir:{tmp_path / 'run' / 'model'}")).model.state_dict()

    assert {tensor.dtype for tensor in weights.values() if tensor.is_floating_point()} == {torch.float32}
    assert math.isfinite(summary["last_loss"])


def test_the_logit_scale_stays_below_its_bound(shapes, tmp_path, micro_config):
    config = dataclasses.replace(micro_config, learning_rate=0.1, max_logit_scale=14.3, max_grad_norm=0.5)
    train(shapes, tmp_path / "run", config)
    scales = [row["logit_scale"] for row in read_metrics(tmp_path / "run" / "metrics.jsonl")]

    assert max(scales) <= 14.3 + 1e-4


def test_a_loss_of_nan_stops_the_run_and_the_error_names_step_and_views(shapes, tmp_path, micro_config):
    config = dataclasses.replace(micro_config, learning_rate=1e30, warmup_steps=0)

    with pytest.raises(TrainingError, match=r"step \d: loss nan, .* on the views D\d+-\d, .*lower learning_rate"):
        train(shapes, tmp_path / "run", config)
    assert not (tmp_path / "run" / "training.json").exists()


@pytest.mark.parametrize("num_patents", [1, 2])
def test_a_split_of_a_handful_of_views_is_one_batch(tmp_path, micro_config, num_patents):
    rows = draw_rows(num_patents, split="train", views_per_patent=1)
    shapes = write_dataset(tmp_path / "d", {"train": rows})

    summary = train(shapes, tmp_path / "run", micro_config)

    assert summary["batch_size"] == num_patents
    assert summary["num_steps"] == 6


def test_an_empty_training_split_is_an_error_and_leaves_no_model(tmp_path, micro_config):
    shapes = write_dataset(tmp_path / "d", {"test": draw_rows(2, split="test")})

    with pytest.raises(DatasetError, match="no captioned view in the split 'train'"):
        train(shapes, tmp_path / "run", micro_config)
    assert not (tmp_path / "run" / "model").exists()


def test_epochs_decide_the_length_of_a_run_without_a_number_of_steps(shapes, tmp_path, micro_config):
    summary = train(shapes, tmp_path / "run", dataclasses.replace(micro_config, num_steps=None, num_epochs=2))

    assert summary["num_steps"] == 2 * (48 // 8)
    assert [row["epoch"] for row in read_metrics(tmp_path / "run" / "metrics.jsonl")] == [1] * 6 + [2] * 6


def test_the_program_prints_one_line_a_step_and_then_the_summary(shapes, tmp_path, micro_config, capsys):
    (tmp_path / "config.json").write_text(json.dumps(micro_config.to_dict()))
    arguments = ["--dataset", str(shapes), "--run", str(tmp_path / "run"), "--config", str(tmp_path / "config.json")]

    assert main(arguments) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["step"] for line in lines[:-1]] == [1, 2, 3, 4, 5, 6]
    assert lines[-1]["summary"] == json.loads((tmp_path / "run" / "training.json").read_text())


def test_the_program_reports_a_failure_in_one_sentence(tmp_path, capsys):
    (tmp_path / "config.json").write_text('{"precission": "bf16"}')

    assert main(["--dataset", str(tmp_path / "none"), "--run", str(tmp_path / "run")]) == 1
    assert capsys.readouterr().err.startswith("error: ")
    config = str(tmp_path / "config.json")
    assert main(["--dataset", str(tmp_path), "--run", str(tmp_path / "run"), "--config", config]) == 2
    assert capsys.readouterr().err.startswith("error: unknown setting precission")
