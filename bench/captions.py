"""Speed of captioning views through a vLLM server, against a plain loop of single requests to the same server.

    python -m bench.captions [--views N] [--model FOLDER_OR_HUB_NAME] [--endpoint URL] [--max-tokens N]
    python -m bench.captions --model FOLDER_OF_A_MODEL_THAT_READS_SEVERAL_PICTURES --patents
    python -m bench.captions --full-size 7b --dummy-weights --max-tokens 128    # on a GPU machine without a network

Without `--endpoint`, a server is started for `--model`, as its plan says; without `--model`, the model is a LLaVA of
random weights that is small enough for the CPU. `--full-size` writes a LLaVA-1.5 of the published size instead, without
weights; the server makes them up, so the speed is that of the published model while the answers mean nothing. Its
tokenizer is that of the small model, so questions have more tokens than those of the published one.

Draws two weeks of patents, one with four times as many views as the other, and captions both as the stage does, each in
its own process, whose peak memory is compared. The plain loop prepares the same images and sends the same requests for
some views of the smaller week, each after the answer to the previous one. Answers are not retried, so that all requests
count the same.

While the larger week is captioned, vLLM's own metrics are read ten times a second: `starved_share` is the share of
readings, from the first request to the last, in which the engine had no request running or waiting.
`client_cpu_ms_a_view` is the processor time that each additional view costs the client and its image workers together.
With `--patents`, the larger week is captioned once more with all views of a patent in one question, and `a_patent` has
requests, tokens and seconds a view of both ways. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import re
import resource
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import requests

from patentdata.captions.config import CaptionsConfig, RequestsConfig, SamplingConfig, ServerConfig
from patentdata.captions.prompts import load_prompt
from patentdata.captions.stage import caption_views
from patentdata.captions.vllm.identity import identity_of
from patentdata.captions.vllm.images import data_url
from patentdata.captions.vllm.plan import plan_server, this_machine
from patentdata.captions.vllm.server import serving
from patentdata.specimens import SpecimenConfig, write_week
from patentdata.store.folder import DataFolder
from patentdata.store.parquet import open_table
from patentdata.store.weeks import table_path
from tests.tiny_llava import TINY_SERVER, LlavaShape, write_llava, write_tiny_llava

_SMALL, _LARGE = "I20240102", "I20240109"
_VIEWS_A_PATENT = 7
_READ_EVERY_S = 0.1
_LLAVA_1_5 = LlavaShape(  # what both published sizes share: CLIP ViT-L/14 at 336 px, Llama's vocabulary
    num_tokens=4096,
    vocabulary=32_064,
    vision_hidden=1024,
    vision_intermediate=4096,
    num_vision_layers=24,
    num_vision_heads=16,
    projection=768,
    image_px=336,
    feature_layer=-2,
    dtype="float16",
)
FULL_SIZES = {
    "7b": replace(_LLAVA_1_5, hidden=4096, intermediate=11_008, num_layers=32, num_heads=32),
    "13b": replace(_LLAVA_1_5, hidden=5120, intermediate=13_824, num_layers=40, num_heads=40),
}
_QUEUE_METRICS = ("vllm:num_requests_running", "vllm:num_requests_waiting")


def draw_views(folder: Path, num_views: int) -> DataFolder:
    """A data folder of two weeks up to their views; the second has four times as many patents as the first."""
    from flows.weeks import WeeksConfig, walk_weeks  # not at the top: every process of the client would import Prefect

    for week, first, num in ((_SMALL, 900_001, 1), (_LARGE, 950_001, 4)):
        num_patents = max(1, num * num_views // (5 * _VIEWS_A_PATENT))
        config = SpecimenConfig(num_patents=num_patents, first_number=first, drawing_scale=0.25, workers=2)
        write_week(folder / "source", week, config, truth=False)
    data_dir = str(folder / "data")
    walk_weeks(
        WeeksConfig(data_dir=data_dir, source=str(folder / "source"), only_stages=("archives", "grants", "views"))
    )
    return DataFolder(data_dir)


def metrics(url: str) -> Counter[str]:
    """vLLM's own metrics, summed over their labels."""
    totals: Counter[str] = Counter()
    with urllib.request.urlopen(url.removesuffix("/v1") + "/metrics", timeout=30) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith("vllm:"):
                totals[line.partition("{")[0]] += float(line.rpartition(" ")[2])  # type: ignore[assignment]
    return totals


class Watch:
    """Context manager that reads the length of the engine's queue in a thread.

    Attributes:
        readings: Number of requests running or waiting at each reading.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self.readings: list[float] = []

    def _read(self) -> None:
        while not self._is_over.wait(_READ_EVERY_S):
            now = metrics(self._url)
            self.readings.append(sum(now[name] for name in _QUEUE_METRICS))

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    @property
    def starved_share(self) -> float:
        """Share of readings with an empty queue, between the first and the last reading with requests."""
        busy = [i for i, num in enumerate(self.readings) if num]
        within = self.readings[busy[0] : busy[-1] + 1] if busy else []
        return sum(not num for num in within) / max(1, len(within))


def plain_loop(url: str, folder: DataFolder, config: CaptionsConfig, num_views: int) -> float:
    """Views per second if they are captioned one after the other."""
    model = identity_of(config, is_served_here=True)
    assert model is not None
    prompt = load_prompt(config.prompt)
    views = list(_views(folder, _SMALL, num_views))
    options: dict[str, Any] = {"temperature": config.sampling.temperature, "max_tokens": config.sampling.max_tokens}
    if prompt.schema is not None:
        schema = {"name": "caption", "schema": prompt.schema, "strict": True}
        options["response_format"] = {"type": "json_schema", "json_schema": schema}
    with requests.Session() as client:
        options["model"] = client.get(f"{url}/models", timeout=60).json()["data"][0]["id"]
        started = time.perf_counter()
        for view in views:
            image, _ = data_url(view["image"], model.picture)
            picture = {"type": "image_url", "image_url": {"url": image}}
            content = [picture, {"type": "text", "text": prompt.ask(view).text}]
            question = {"messages": [{"role": "user", "content": content}], **options}
            client.post(f"{url}/chat/completions", json=question, timeout=600).raise_for_status()
        return len(views) / (time.perf_counter() - started)


def _views(folder: DataFolder, week: str, num: int) -> Iterator[dict[str, Any]]:
    """The first `num` views of a week, with the titles of their patents."""
    with open_table(folder, table_path(folder, "grants", week)) as table:
        titles = {
            row["patent_number"]: row["title"] for row in table.read(columns=["patent_number", "title"]).to_pylist()
        }
    with open_table(folder, table_path(folder, "views", week)) as table:
        rows = (row for batch in table.iter_batches(batch_size=32) for row in batch.to_pylist())
        for _, view in zip(range(num), rows, strict=False):
            yield view | {"title": titles[view["patent_number"]]}


def caption_week(url: str, folder: DataFolder, week: str, config: CaptionsConfig) -> dict[str, float]:
    """Caption a week in its own process: number of views, seconds, seconds of processor time, peak memory in MB."""
    context = multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    child = context.Process(target=_caption_here, args=(url, folder, week, config, results))
    child.start()
    child.join()
    if child.exitcode:
        raise SystemExit(f"captioning {week} failed with exit code {child.exitcode}")
    measured: dict[str, float] = results.get()
    return measured


def _caption_here(url: str, folder: DataFolder, week: str, config: CaptionsConfig, results: Any) -> None:
    """Caption a week in this process, and put what it cost into the queue `results`."""
    started = time.perf_counter()
    report = caption_views(folder, week, config, endpoints=() if config.endpoints else (url,))
    seconds = time.perf_counter() - started
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    # Not from getrusage, whose peak is at least that of the process that started this one.
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    results.put(
        {
            "num_views": report.tally("views").num_in,
            "seconds": seconds,
            "cpu_seconds": sum(usage.ru_utime + usage.ru_stime for usage in used),
            "peak_mb": int(peak) / 1024,
        }
    )


def measure(
    url: str, folder: DataFolder, config: CaptionsConfig, num_plain: int, *, patents: bool = False
) -> dict[str, Any]:
    """Measure the plain loop, then both weeks, on one server; with `patents` the larger one also patent by patent."""
    plain_loop(url, folder, config, 2)  # warms up the server
    plain = plain_loop(url, folder, config, num_plain)
    small = caption_week(url, folder, _SMALL, config)
    before = metrics(url)
    with Watch(url) as watch:
        large = caption_week(url, folder, _LARGE, config)
    used = metrics(url)
    used.subtract(before)
    images_per_s = large["num_views"] / large["seconds"]
    both_ways = {}
    if patents:
        before = metrics(url)
        by_patent = replace(config, prompt="patent", views_per_question="patent")
        whole = caption_week(url, folder, _LARGE, by_patent)
        used_by_patents = metrics(url)
        used_by_patents.subtract(before)
        both_ways = {"one_view": _a_view(used, large), "a_patent": _a_view(used_by_patents, whole)}
    return {
        **both_ways,
        "num_views": large["num_views"],
        "images_per_s": round(images_per_s, 2),
        "plain_images_per_s": round(plain, 2),
        "ratio": round(images_per_s / plain, 2),
        "generated_tokens_per_s": round(used["vllm:generation_tokens_total"] / large["seconds"], 1),
        "prompt_tokens_per_s": round(used["vllm:prompt_tokens_total"] / large["seconds"], 1),
        "num_requests": int(used["vllm:request_success_total"]),
        "starved_share": round(watch.starved_share, 4),
        "num_readings": len(watch.readings),
        "client_cpu_ms_a_view": round(
            1000 * (large["cpu_seconds"] - small["cpu_seconds"]) / (large["num_views"] - small["num_views"]), 2
        ),
        "num_views_small": small["num_views"],
        "peak_mb": round(large["peak_mb"], 1),
        "peak_mb_small": round(small["peak_mb"], 1),
    }


def _a_view(used: Counter[str], week: dict[str, float]) -> dict[str, float]:
    """Requests, tokens and seconds of a week, each divided by the number of its views."""
    of = {
        "requests": used["vllm:request_success_total"],
        "prompt_tokens": used["vllm:prompt_tokens_total"],
        "output_tokens": used["vllm:generation_tokens_total"],
        "seconds": week["seconds"],
    }
    return {name: round(value / week["num_views"], 4) for name, value in of.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--views", type=int, default=1000, help="approximate number of views of both weeks together")
    parser.add_argument("--num-plain", type=int, default=48, help="views that the plain loop captions")
    parser.add_argument("--model", help="hub name or folder; default: a tiny model of random weights")
    parser.add_argument("--endpoint", help="URL of a running server")
    parser.add_argument("--prompt", default="views", help="views, impact, or a TOML file")
    parser.add_argument(
        "--max-tokens", type=int, default=SamplingConfig().max_tokens, help="tokens of the longest answer"
    )
    parser.add_argument("--patents", action="store_true", help="also ask about all views of a patent at once")
    parser.add_argument("--full-size", choices=sorted(FULL_SIZES), help="a LLaVA-1.5 of this size, without weights")
    parser.add_argument("--dummy-weights", action="store_true", help="have the server make up the model's weights")
    parser.add_argument(
        "--server-argument",
        action="append",
        default=[],
        help="further argument of the server, as --server-argument=--x",
    )
    parser.add_argument("--in-flight", type=int, default=RequestsConfig().num_in_flight)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as stack:
        model, server = _model_of(arguments, Path(temporary))
        config = CaptionsConfig(
            captioner="vllm",
            model=model,
            endpoints=() if arguments.endpoint is None else (arguments.endpoint,),
            prompt=arguments.prompt,
            sampling=SamplingConfig(max_tokens=arguments.max_tokens, retry_temperatures=()),
            requests=RequestsConfig(num_in_flight=arguments.in_flight),
            server=server,
        )
        folder = draw_views(Path(temporary), arguments.views)
        url = arguments.endpoint
        if url is None:
            log_path = Path(temporary) / "vllm.log"
            assert model is not None, "without an endpoint there is a model"
            widest = replace(config, prompt="patent", views_per_question="patent") if arguments.patents else config
            planned = plan_server(widest, this_machine()).server
            url = stack.enter_context(serving(model, None, planned, log_path=log_path)).url
        measured = measure(url, folder, config, arguments.num_plain, patents=arguments.patents)
    name = arguments.model or arguments.full_size or ("tiny" if arguments.endpoint is None else "served")
    print(json.dumps({"bench": "captions", "model": name, "prompt": arguments.prompt, **measured}))


def _model_of(arguments: argparse.Namespace, folder: Path) -> tuple[str | None, ServerConfig]:
    """The model to serve, None for that of an endpoint, and the settings of its server."""
    extra = tuple(arguments.server_argument)
    if arguments.dummy_weights:
        extra = ("--load-format", "dummy", *extra)
    if arguments.full_size is not None:
        if not arguments.dummy_weights:
            raise SystemExit("a model of --full-size has no weights; add --dummy-weights")
        model = str(write_llava(folder / f"llava-{arguments.full_size}", FULL_SIZES[arguments.full_size]))
        return model, ServerConfig(extra_arguments=extra)
    if arguments.model is None and arguments.endpoint is None:
        tiny = write_tiny_llava(folder / "tiny-llava")
        return str(tiny), replace(TINY_SERVER, extra_arguments=(*TINY_SERVER.extra_arguments, *extra))
    return arguments.model, ServerConfig(extra_arguments=extra)


if __name__ == "__main__":
    main()
