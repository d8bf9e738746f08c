"""How fast views are captioned through a vLLM server, against a plain loop of one request at a time on the same server.

    python -m bench.captions [--views N] [--model FOLDER_OR_HUB_NAME] [--endpoint URL] [--max-tokens N]

Without `--endpoint` a server is started for `--model`; without `--model` that is a LLaVA of random weights, small
enough for the CPU. Draws two weeks of patents, one of four times the views of the other, and captions both as the stage
does, each in a process of its own, whose peak memory is compared. The loop prepares the same pictures and sends the
same questions, each when the one before it is answered, for some views of the smaller week. Each view is asked about
once, so that all requests count the same.

While the larger week is captioned, vLLM's own metrics are read ten times a second: `starved_share` is the share of
readings, from the first request to the last, in which the engine had none running and none waiting.
`client_cpu_ms_a_view` is what each further view costs the client and its image workers together. Prints one JSON line.
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
from pathlib import Path
from typing import Any

import requests

from patentdata.captions.config import CaptionsConfig, RequestsConfig, SamplingConfig, ServerConfig
from patentdata.captions.prompts import PROMPTS
from patentdata.captions.stage import caption_views
from patentdata.captions.vllm.identity import identity_of
from patentdata.captions.vllm.images import data_url
from patentdata.captions.vllm.server import serving
from patentdata.specimens import SpecimenConfig, write_week
from patentdata.store.folder import DataFolder
from patentdata.store.parquet import open_table
from patentdata.store.weeks import table_path
from tests.tiny_llava import TINY_SERVER, write_tiny_llava

_SMALL, _LARGE = "I20240102", "I20240109"
_VIEWS_A_PATENT = 7
_LOOK_EVERY_S = 0.1
_ASKED = ("vllm:num_requests_running", "vllm:num_requests_waiting")


def draw_views(place: Path, num_views: int) -> DataFolder:
    """A data folder of two weeks up to their views; the second has four times the patents of the first."""
    from flows.weeks import WeeksConfig, walk_weeks  # not above: every process of the client would load Prefect

    for week, first, num in ((_SMALL, 900_001, 1), (_LARGE, 950_001, 4)):
        num_patents = max(1, num * num_views // (5 * _VIEWS_A_PATENT))
        config = SpecimenConfig(num_patents=num_patents, first_number=first, drawing_scale=0.25, workers=2)
        write_week(place / "source", week, config, truth=False)
    data_dir = str(place / "data")
    walk_weeks(
        WeeksConfig(data_dir=data_dir, source=str(place / "source"), only_stages=("archives", "grants", "views"))
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
    """Reads in a thread whether the engine has work; `with` it runs."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.readings: list[float] = []

    def _look(self) -> None:
        while not self._is_over.wait(_LOOK_EVERY_S):
            now = metrics(self._url)
            self.readings.append(sum(now[name] for name in _ASKED))

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    @property
    def starved_share(self) -> float:
        """Share of readings without work, between the first and the last that had some."""
        busy = [i for i, num in enumerate(self.readings) if num]
        within = self.readings[busy[0] : busy[-1] + 1] if busy else []
        return sum(not num for num in within) / max(1, len(within))


def plain_loop(url: str, folder: DataFolder, config: CaptionsConfig, num_views: int) -> float:
    """Views a second, one after the other."""
    model = identity_of(config, is_served_here=True)
    assert model is not None
    prompt = PROMPTS[config.prompt]
    views = list(_views(folder, _SMALL, num_views))
    options: dict[str, Any] = {"temperature": config.sampling.temperature, "max_tokens": config.sampling.max_tokens}
    if prompt.schema is not None:
        schema = {"name": "caption", "schema": prompt.schema, "strict": True}
        options["response_format"] = {"type": "json_schema", "json_schema": schema}
    with requests.Session() as client:
        options["model"] = client.get(f"{url}/models", timeout=60).json()["data"][0]["id"]
        started = time.perf_counter()
        for view in views:
            image, _ = data_url(view["image"], model.size_px, config.image.margin_share)
            picture = {"type": "image_url", "image_url": {"url": image}}
            content = [picture, {"type": "text", "text": prompt.ask(view).text}]
            question = {"messages": [{"role": "user", "content": content}], **options}
            client.post(f"{url}/chat/completions", json=question, timeout=600).raise_for_status()
        return len(views) / (time.perf_counter() - started)


def _views(folder: DataFolder, week: str, num: int) -> Iterator[dict[str, Any]]:
    with open_table(folder, table_path(folder, "grants", week)) as table:
        titles = {
            row["patent_number"]: row["title"] for row in table.read(columns=["patent_number", "title"]).to_pylist()
        }
    with open_table(folder, table_path(folder, "views", week)) as table:
        rows = (row for batch in table.iter_batches(batch_size=32) for row in batch.to_pylist())
        for _, view in zip(range(num), rows, strict=False):
            yield view | {"title": titles[view["patent_number"]]}


def caption_week(url: str, folder: DataFolder, week: str, config: CaptionsConfig) -> dict[str, float]:
    """Caption a week in a process of its own: views, seconds, seconds of processor time, its peak memory in MB."""
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
    started = time.perf_counter()
    report = caption_views(folder, week, config, endpoints=() if config.endpoints else (url,))
    seconds = time.perf_counter() - started
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    # Not getrusage, whose peak is that of the process that started this one, where it was larger.
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    results.put(
        {
            "num_views": report.tally("views").num_in,
            "seconds": seconds,
            "cpu_seconds": sum(usage.ru_utime + usage.ru_stime for usage in used),
            "peak_mb": int(peak) / 1024,
        }
    )


def measure(url: str, folder: DataFolder, config: CaptionsConfig, num_plain: int) -> dict[str, Any]:
    """The loop, then the two weeks, on one server."""
    plain_loop(url, folder, config, 2)  # the server has seen its first requests
    plain = plain_loop(url, folder, config, num_plain)
    small = caption_week(url, folder, _SMALL, config)
    before = metrics(url)
    with Watch(url) as watch:
        large = caption_week(url, folder, _LARGE, config)
    used = metrics(url)
    used.subtract(before)
    images_per_s = large["num_views"] / large["seconds"]
    return {
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--views", type=int, default=1000, help="views of both weeks together, about")
    parser.add_argument("--num-plain", type=int, default=48, help="views of the plain loop")
    parser.add_argument("--model", help="hub name or folder; default: a tiny one of random weights")
    parser.add_argument("--endpoint", help="a running server")
    parser.add_argument("--prompt", default="views", choices=sorted(PROMPTS))
    parser.add_argument("--max-tokens", type=int, default=SamplingConfig().max_tokens, help="longest answer")
    parser.add_argument("--in-flight", type=int, default=RequestsConfig().num_in_flight)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as stack:
        model, server = arguments.model, ServerConfig()
        if model is None and arguments.endpoint is None:
            model, server = str(write_tiny_llava(Path(place) / "tiny-llava")), TINY_SERVER
        config = CaptionsConfig(
            captioner="vllm",
            model=model,
            endpoints=() if arguments.endpoint is None else (arguments.endpoint,),
            prompt=arguments.prompt,
            sampling=SamplingConfig(max_tokens=arguments.max_tokens, retry_temperatures=()),
            requests=RequestsConfig(num_in_flight=arguments.in_flight),
        )
        folder = draw_views(Path(place), arguments.views)
        url = arguments.endpoint
        if url is None:
            log_path = Path(place) / "vllm.log"
            url = stack.enter_context(serving(model, None, server, log_path=log_path)).url
        measured = measure(url, folder, config, arguments.num_plain)
    print(json.dumps({"bench": "captions", "model": arguments.model or "tiny", "prompt": arguments.prompt, **measured}))


if __name__ == "__main__":
    main()
