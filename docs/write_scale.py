"""Write docs/scale.md: what the full rebuild takes, estimated from rates that name their source."""

from __future__ import annotations

import textwrap
from pathlib import Path

from flows.preflight import rates
from flows.preflight.rates import Rate

_YEARS = "2007 to 2022"
PATENTS = Rate(500_000, "patents", "published by IMPACT; a recount of its release gives 434,498")
IMAGES = Rate(3_600_000, "drawings, including front pages", "published by IMPACT; recounted 3,030,160")
ARCHIVE_BYTES = Rate(2.7e12, "bytes of weekly archives", "published by others, from the portal's listing")
WEEKS = Rate(835, "Tuesdays", "the calendar")
WALK_OVER_VIEWS = Rate(
    1.04, "times the views' time for all four weekly stages", "`python -m bench.walk`, 12 weeks of 29 real patents"
)
DATASET_OVER_VIEWS = Rate(
    0.058,
    "times a sheet's time for a view of the dataset",
    f"{WALK_OVER_VIEWS.provenance}: 0.075, when sheets took no time for broken lines",
)
ROW_BYTES = Rate(18_000, "bytes of grants and captions per patent", "29 real patents, 2026-11-21")
SLOW, FAST = (
    Rate(12.5e6, "bytes per second from the network", "assumed: 100 Mbit/s"),
    Rate(100e6, "bytes per second from a faster network", "assumed: 800 Mbit/s"),
)
FILE_S = Rate(2.0, "seconds per file at least", "the portal's limit: 5 files in 10 s")
PLANNING_S = Rate(
    64.5,
    "seconds for planning the split of 498,000 patents, with 751 MB at most",
    "`python -m bench.splits`, made-up grants, a busy machine, 2026-11-28",
)
CAPTIONS_A_S = Rate(
    15,
    "captions per second and GPU",
    "assumed: between the 9.8 and 18.6 that others publish for LLaVA-1.5-13B on an H100",
)
TRAINING_A_S = Rate(850, "pairs per second and GPU", "assumed: what open_clip publishes for ViT-B/32 on an A100")
EPOCHS, TRAINING_SHARE = 5, 0.8
CORE_PRICE, GPU_PRICE = Rate(0.04, "per core-hour", "assumed"), Rate(2.50, "per GPU-hour", "assumed")
DISK_PRICE = Rate(0.023, "per GB and month", "assumed")

_ASSUMED = (SLOW, FAST, CAPTIONS_A_S, TRAINING_A_S, CORE_PRICE, GPU_PRICE, DISK_PRICE)

NUM_SHEETS = IMAGES.value - PATENTS.value
NUM_VIEWS = NUM_SHEETS * rates.VIEWS_A_SHEET.value
MOVED_BYTES = ARCHIVE_BYTES.value * rates.DESIGN_SHARE.value
_VIEWS_CORE_H = NUM_SHEETS / rates.SHEETS_PER_CORE_S.value / 3600
WALK_CORE_H = _VIEWS_CORE_H * WALK_OVER_VIEWS.value
DATASET_CORE_H = NUM_VIEWS * DATASET_OVER_VIEWS.value / rates.SHEETS_PER_CORE_S.value / 3600
TRAINING_PAIRS = NUM_VIEWS * TRAINING_SHARE * EPOCHS


def fetching_h(num_bytes: float, rate: Rate) -> float:
    """Hours to fetch all weeks from the portal, one after the other, whatever the number of cores."""
    return max(num_bytes / rate.value, WEEKS.value * FILE_S.value) / 3600


def core_hours(num_cores: int, rate: Rate) -> tuple[float, float, float, float]:
    """Hours for fetching, for the weekly stages, for the dataset, and in all; one core fetches first, then works."""
    fetching, walk = fetching_h(MOVED_BYTES, rate), WALK_CORE_H / num_cores
    dataset = PLANNING_S.value / 3600 + DATASET_CORE_H / num_cores
    return fetching, walk, dataset, (fetching + walk if num_cores == 1 else max(fetching, walk)) + dataset


def scale_page() -> str:
    """The page, as Markdown."""
    parts = [
        "# Size, time and cost",
        "",
        _filled(
            f"The full rebuild of the years {_YEARS}. Nobody has run all of it. These rates are assumed, and were "
            f"measured by nobody here: {'; '.join(_assumed())}. Every number of the first three tables is computed by "
            "`docs/write_scale.py` (`make docs`); the last table says for each rate behind them whether it was "
            "measured, and on what, or published, or assumed. `designclip rebuild --plan` makes the same estimate for "
            "your own listing, disk, cores and network."
        ),
        "",
        "## Sizes",
        "",
        *_table(("what", "size"), _sizes()),
        "",
        "## Hours on processors",
        "",
        _filled(
            "The portal gives each key one file at a time, at most 5 in 10 s, and each file 20 times a year. So the "
            f"time for fetching does not depend on the number of cores: {WEEKS.value:,.0f} weeks take at least "
            f"{fetching_h(0, FAST) * 60:,.0f} minutes, and at 100 Mbit/s {fetching_h(MOVED_BYTES, SLOW):.1f} h where "
            f"only DESIGN is read ({fetching_h(ARCHIVE_BYTES.value, SLOW):,.0f} h for whole archives, `--whole`). It "
            "runs in parallel with the work on other weeks. From a mirror or folder, as many weeks are fetched at a "
            "time as there are workers. The dataset is planned in one process, and then frozen by weeks on all cores; "
            "that the rates of a core hold for many is an extrapolation, from two."
        ),
        "",
        *_table(("cores", "fetching", "weekly stages", "dataset", "in all", "core-hours", "cost"), _cores()),
        "",
        _filled(
            f"At {FAST.value / 1e6:.0f} MB/s instead, {', '.join(_fast_hours())}. With captions from the grants' own "
            "words (`described`) that is all: they are one of the weekly stages."
        ),
        "",
        "## Hours on GPUs",
        "",
        _filled(
            "None of this was measured here. Captions by a model take `views / (rate × GPUs)` seconds, and training "
            "takes `pairs × epochs / (rate × GPUs)`. Use your own rates; `python -m bench.captions` measures the first."
        ),
        "",
        *_table(("GPUs", "captions of every view", f"training, {EPOCHS} epochs", "GPU-hours", "cost"), _gpus()),
        "",
        _filled(
            "IMPACT makes one caption per patent, which takes an eighth to a ninth of the time for captions. Training "
            "on several GPUs is assumed to scale without loss, which is slightly optimistic."
        ),
        "",
        "## Rates",
        "",
        *_table(("rate", "unit", "source"), _rates()),
    ]
    return "\n".join(parts) + "\n"


def _sizes() -> list[tuple[str, ...]]:
    archives = (ARCHIVE_BYTES.value, MOVED_BYTES)
    views = NUM_VIEWS * rates.VIEW_BYTES.value
    dataset = NUM_VIEWS * rates.TRAINING_IMAGE_BYTES.value
    rows = PATENTS.value * ROW_BYTES.value
    disk = MOVED_BYTES + views + dataset + rows
    return [
        ("patents, drawings", f"{PATENTS.value:,.0f} and {IMAGES.value:,.0f} (published)"),
        ("sheets, views", f"{NUM_SHEETS / 1e6:.1f} and {NUM_VIEWS / 1e6:.1f} million (estimated)"),
        ("weekly archives", f"{archives[0] / 1e12:.1f} TB, of which {archives[1] / 1e9:,.0f} GB are moved and kept"),
        ("grants and captions", f"{rows / 1e9:,.0f} GB"),
        ("views, lossless", f"{views / 1e9:,.0f} GB"),
        ("dataset, 256 px JPEG", f"{dataset / 1e9:,.0f} GB"),
        ("disk in all", f"{disk / 1e9:,.0f} GB, about ${disk / 1e9 * DISK_PRICE.value:,.0f} a month in a store"),
        ("IMPACT's layout, if wanted", f"{MOVED_BYTES / 1e9:,.0f} GB more"),
    ]


def _cores() -> list[tuple[str, ...]]:
    work = WALK_CORE_H + DATASET_CORE_H
    rows = []
    for num in (1, 16, 256):
        hours = core_hours(num, SLOW)
        paid = num * hours[-1] * CORE_PRICE.value
        cost = f"${paid:,.2f}, of which ${work * CORE_PRICE.value:,.2f} for work"
        rows.append((f"{num}", *map(_hours, hours), f"{work:,.0f}", cost))
    return rows


def _fast_hours() -> list[str]:
    return [f"{num} cores take {_hours(core_hours(num, FAST)[-1])}" for num in (16, 256)]


def _gpus() -> list[tuple[str, ...]]:
    captions, training = NUM_VIEWS / CAPTIONS_A_S.value / 3600, TRAINING_PAIRS / TRAINING_A_S.value / 3600
    total = captions + training
    cost = f"${total * GPU_PRICE.value:,.0f}"
    return [(f"{num}", _hours(captions / num), _hours(training / num), f"{total:,.0f}", cost) for num in (1, 8)]


def _rates() -> list[tuple[str, ...]]:
    planned = (rates.DESIGN_SHARE, rates.SHEETS_PER_CORE_S, rates.VIEWS_A_SHEET, rates.VIEW_BYTES)
    measured = (PATENTS, IMAGES, ARCHIVE_BYTES, WEEKS, *planned, rates.TRAINING_IMAGE_BYTES, ROW_BYTES, WALK_OVER_VIEWS)
    rest = (DATASET_OVER_VIEWS, PLANNING_S, FILE_S, *_ASSUMED)
    return [(_number(rate), rate.unit, rate.provenance) for rate in (*measured, *rest)]


def _assumed() -> list[str]:
    """Every assumed rate in words."""
    assert all(rate.provenance.startswith("assumed") for rate in _ASSUMED)
    return [f"{_number(rate)} {rate.unit}" for rate in _ASSUMED]


def _number(rate: Rate) -> str:
    dollars = "$" if rate in (CORE_PRICE, GPU_PRICE, DISK_PRICE) else ""
    return f"{dollars}{rate.value:,.0f}" if rate.value >= 100 else f"{dollars}{rate.value:g}"


def _hours(hours: float) -> str:
    return f"{hours:,.1f} h" if hours >= 1 else f"{hours * 60:,.0f} min"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    return [f"| {' | '.join(head)} |", "|---" * len(head) + "|", *(f"| {' | '.join(row)} |" for row in rows)]


def _filled(text: str) -> str:
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    Path(__file__).with_name("scale.md").write_text(scale_page(), encoding="utf-8")
