"""The page on which a person judges captions."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from patentdata.archives.designs import ArchivesConfig
from patentdata.archives.sources import list_weeks
from patentdata.archives.stage import keep_archive
from patentdata.captions.clip_tokens import num_tokens
from patentdata.captions.config import CaptionsConfig
from patentdata.captions.faithfulness.drawing import Drawn
from patentdata.captions.page import (
    CaptionPageConfig,
    Card,
    LowestCards,
    RepeatedCaptions,
    repetitive_classes,
    split_at_context,
    write_caption_report,
)
from patentdata.captions.quality import PREFIX, Quality, Share
from patentdata.captions.stage import caption_views
from patentdata.errors import ConfigError, OutputError
from patentdata.grants.stage import parse_archive
from patentdata.specimens import SpecimenConfig, write_week
from patentdata.store import schemas
from patentdata.store.folder import DataFolder
from patentdata.store.parquet import Provenance, open_table, read_provenance, read_report, write_table
from patentdata.store.weeks import state_of, table_path
from patentdata.views.patent_views import ViewsConfig
from patentdata.views.stage import split_archive

pytestmark = pytest.mark.slow

WEEKS = ("I20240102", "I20240109")
_HOSTILE = "</pre><script>alert('x')</script><img src=x onerror=alert(1)> & \N{RIGHT-TO-LEFT OVERRIDE}\x00"


@pytest.fixture(scope="module")
def walked(tmp_path_factory) -> DataFolder:
    """Two small weeks of specimens, processed up to template captions."""
    source = tmp_path_factory.mktemp("source")
    folder = DataFolder(tmp_path_factory.mktemp("data"))
    for index, week in enumerate(WEEKS):
        write_week(source, week, SpecimenConfig(num_patents=3, first_number=900_001 + 3 * index, drawing_scale=0.5))
    for archive in list_weeks(str(source)):
        keep_archive(folder, archive, ArchivesConfig())
        parse_archive(folder, archive.week)
        split_archive(folder, archive.week, ViewsConfig())
        caption_views(folder, archive.week, CaptionsConfig())
    return folder


@pytest.fixture
def folder(walked, tmp_path) -> DataFolder:
    return _copy(walked, tmp_path / "data")


def _copy(folder: DataFolder, to: Path) -> DataFolder:
    shutil.copytree(folder.root, to)
    return DataFolder(to)


def _captions(folder: DataFolder, week: str = WEEKS[0]) -> list[dict]:
    with open_table(folder, table_path(folder, "captions", week)) as table:
        return table.read().to_pylist()


def _recaption(folder: DataFolder, texts: list[str | None], week: str = WEEKS[0], **columns: object) -> None:
    """Replace the captions of the first views of a week, as if a model had made them."""
    path = table_path(folder, "captions", week)
    made, report = read_provenance(folder, path), read_report(folder, path)
    rows = _captions(folder, week)
    for row, text in zip(rows, texts, strict=False):
        length = num_tokens(text) if text else 0
        row |= {
            "text": text,
            "num_tokens": length,
            "captioner": "vllm",
            "model": "llava-x",
            "prompt": "views/1",
        } | columns
    write_table(folder, path, schemas.CAPTIONS, [rows], _provenance(made), report)


def _provenance(made: dict) -> Provenance:
    return Provenance(**{name: made[name] for name in ("stage", "version", "config", "inputs")})


def _page(folder: DataFolder, out: Path, *, compare: DataFolder | None = None, weeks=(), **settings):
    summary = write_caption_report(folder, weeks, out, config=CaptionPageConfig(**settings), compare=compare)
    return out.read_text(), summary


def _section(page: str, name: str) -> str:
    return page.partition(f'<section aria-labelledby="{name}">')[2].partition("</section>")[0]


def test_the_page_counts_every_view_of_all_weeks_and_shows_samples_with_their_pictures(walked, tmp_path):
    page, summary = _page(walked, tmp_path / "page.html", num_samples=5)
    num_views = sum(len(_captions(walked, week)) for week in WEEKS)
    assert summary["num_views"] == summary["num_captions"] == num_views
    assert summary["weeks"] == list(WEEKS) and summary["num_bytes"] == (tmp_path / "page.html").stat().st_size
    samples = _section(page, "samples")
    assert samples.count("<article") == samples.count('<img src="data:image/png;base64,') == 5
    texts = {html.escape(row["text"], quote=False) for week in WEEKS for row in _captions(walked, week)}
    shown = re.findall(r'<p class="caption">(.*?)</p>', samples)
    assert len(shown) == 5 and all(html.escape(html.unescape(text), quote=False) in texts for text in shown)
    assert all(week in _section(page, "measures") for week in WEEKS)


def test_the_measures_on_the_page_are_those_that_the_stage_reported(walked, tmp_path):
    _, summary = _page(walked, tmp_path / "page.html", weeks=[WEEKS[0]])
    counts = state_of(walked, "captions", WEEKS[0])[1].counts
    for name, share in summary["measures"].items():
        assert counts[PREFIX + name] == share["num"]
    assert counts[PREFIX + "views"] == summary["num_views"]
    assert counts[PREFIX + "tokens"] / summary["num_captions"] == summary["mean_num_tokens"]


def test_captions_of_specimens_are_compared_with_what_was_drawn(folder, tmp_path):
    rows = _captions(folder)
    numbers = list(dict.fromkeys(row["view_id"].partition("-")[0] for row in rows))
    drawn = {numbers[0]: Drawn("round", {"handle": 1}), numbers[1]: Drawn("box", {"leg": 4})}
    said = {
        numbers[0]: "A mug with two handles.",
        numbers[1]: "A cabinet on four legs.",
        numbers[2]: "It has nine legs.",
    }
    _recaption(folder, [said[row["view_id"].partition("-")[0]] for row in rows])
    out = tmp_path / "page.html"
    summary = write_caption_report(folder, WEEKS[:1], out, config=CaptionPageConfig(), drawn=drawn)
    num_views = {number: sum(row["view_id"].startswith(number) for row in rows) for number in numbers}
    parts = summary["drawing"]["parts"]
    assert (parts["num"], parts["of"]) == (num_views[numbers[0]], num_views[numbers[0]] + num_views[numbers[1]])
    assert parts["interval"] == [round(end, 4) for end in Share(parts["num"], parts["of"], num_clusters=2).interval]
    assert summary["drawing"]["shape"] == {"num": 0, "of": 0}
    section = _section(out.read_text(), "drawing")
    assert "parts that were not drawn: “two handles”" in html.unescape(section)
    assert section.count("<article") == min(8, num_views[numbers[0]])
    plain, without = _page(folder, out)
    assert "drawing" not in without and not _section(plain, "drawing")


def test_equal_data_settings_and_seed_give_equal_bytes_and_another_seed_another_sample(walked, tmp_path):
    pages = [_page(walked, tmp_path / f"{n}.html", num_samples=4, seed=seed)[0] for n, seed in enumerate((0, 0, 1))]
    assert pages[0] == pages[1] and _section(pages[0], "samples") != _section(pages[2], "samples")


def test_each_kind_of_problem_has_a_section_of_its_own(folder, tmp_path):
    shapes, parts = (
        ("round", "flat", "curved", "slender", "tapered", "ribbed"),
        ("legs", "arms", "slats", "rails", "feet"),
    )
    long = "A chair with " + ", ".join(f"{shape} {part}" for shape in shapes for part in parts)
    _recaption(folder, ["The image is a square.", "legs legs legs legs legs", long, None], finish_reason="timeout")
    page, summary = _page(folder, tmp_path / "page.html")
    assert "The image is a square." in _section(page, "canvas") and _section(page, "canvas").count("<article") == 1
    assert "legs legs legs" in _section(page, "looping") and _section(page, "looping").count("<article") == 1
    assert "<del" in _section(page, "longest") and "ribbed feet</del>" in _section(page, "longest")
    assert "no answer in time" in _section(page, "without")
    assert summary["reasons"] == {"timeout": 1} and summary["measures"]["over_length"]["num"] == 1


def test_captions_against_the_grant_are_shown_with_what_is_wrong_and_a_rate_with_its_interval(folder, tmp_path):
    _recaption(folder, ["It is red and made of steel."] + ["A shape."] * 99)
    page, summary = _page(folder, tmp_path / "page.html")
    section = _section(page, "unfaithful")
    assert "a colour: “red”" in section and "a material: “" in section
    assert section.count("<article") == 2
    colour = summary["measures"]["unfaithful_colour"]
    assert colour["num"] == 1 and colour["interval"][0] < 1 / colour["of"] < colour["interval"][1]
    assert re.search(r"<td>\d\d?\.\d % \(\d\.\d–\d\d\.\d\)<small>1 of ", page)
    assert "interval" not in summary["measures"]["looping"]


def test_a_caption_that_several_patents_share_is_shown_once_with_their_number(folder, tmp_path):
    for week in WEEKS:
        _recaption(folder, ["A nameless thing."] * 99, week)
    page, _ = _page(folder, tmp_path / "page.html")
    repeated = _section(page, "repeated")
    assert repeated.count("<article") == 1 and "the same caption for 6 patents" in repeated


def test_texts_of_grants_and_models_are_escaped_and_no_external_resource_is_loaded(folder, tmp_path):
    _recaption(folder, [_HOSTILE] * 99, prompt_text=_HOSTILE, answer=_HOSTILE, model=_HOSTILE, shape=_HOSTILE)
    page, _ = _page(folder, tmp_path / "page.html")
    assert "<script" not in page and "<img src=x" not in page and "&lt;script&gt;" in page
    assert re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', page) == []
    assert "url(" not in page and "@import" not in page and "default-src 'none'" in page


def test_a_caption_of_shape_and_function_is_shown_once(folder, tmp_path):
    _recaption(folder, ["Round. To sit."] * 99, shape="Round.", function="To sit.")
    _recaption(folder, ["Round. To sit."] * 99, WEEKS[1], shape="Round and more", function="To sit.")
    samples = _section(_page(folder, tmp_path / "page.html", num_samples=100)[0], "samples")
    num_joined, num_separate = len(_captions(folder)), len(_captions(folder, WEEKS[1]))
    assert samples.count('<dl class="caption">') == num_joined
    assert samples.count('<p class="caption">Round. To sit.</p>') == num_separate


def test_only_classes_whose_patents_share_captions_are_listed_as_repetitive():
    total = Quality()
    for n in range(30):
        total.distinct.add(f"D{n}", "D6", f"chair {n}")
        total.distinct.add(f"D{n}", "D7", f"bowl {n // 2}")
    assert repetitive_classes(total) == [("D7", Share(15, 30))]


def test_prompt_and_answer_can_be_unfolded(folder, tmp_path):
    _recaption(folder, ["A chair."], prompt_text="What is it?\nSay.", answer='{"shape": "round"}')
    page, _ = _page(folder, tmp_path / "page.html", num_samples=100)
    folded = re.findall(r"<details><summary>Prompt and answer</summary>(.*?)</details>", page, re.DOTALL)
    assert folded and all("What is it?\nSay." in part for part in folded)
    assert "{&#34;shape&#34;: &#34;round&#34;}" in folded[0]


def test_two_folders_show_the_same_views_captioned_both_ways(folder, walked, tmp_path):
    other = _copy(walked, tmp_path / "other")
    _recaption(other, ["The image is a square."] * 99, prompt="impact/1")
    page, summary = _page(folder, tmp_path / "page.html", compare=other, num_samples=100)
    num_views = sum(len(_captions(folder, week)) for week in WEEKS)
    compared = summary["compared"]
    assert compared["here"]["num_views"] == compared["there"]["num_views"] == num_views
    assert compared["num_unpaired"] == 0
    assert compared["there"]["measures"]["canvas_words"]["num"] == len(_captions(folder))
    assert compared["here"]["measures"]["canvas_words"]["num"] == 0
    cards = re.findall(r"<article.*?</article>", _section(page, "pairs"), re.DOTALL)
    assert len(cards) == num_views
    own = {row["view_id"]: row["text"] for row in _captions(folder)}
    both = [card for card in cards if "The image is a square." in card]
    assert len(both) == len(own)
    assert all(any(html.escape(text) in card for text in own.values()) for card in both)
    assert all("<h4>described/1</h4>" in card and "<h4>impact/1</h4>" in card for card in both)


def test_views_with_another_picture_in_the_other_folder_are_counted_and_not_paired(folder, walked, tmp_path):
    other = _copy(walked, tmp_path / "other")
    Path(table_path(other, "captions", WEEKS[1])).unlink()
    _recaption(other, ["Another."], image_sha256="0" * 64)
    page, summary = _page(folder, tmp_path / "page.html", compare=other)
    assert summary["compared"]["num_unpaired"] == len(_captions(folder, WEEKS[1])) + 1
    assert f"{summary['compared']['num_unpaired']} views of these weeks are missing in the other folder" in page


def test_a_picture_that_cannot_be_read_is_reported_on_its_card(folder, tmp_path):
    path = table_path(folder, "views", WEEKS[0])
    with open_table(folder, path) as table:
        rows = table.read().to_pylist()
    made, report = read_provenance(folder, path), read_report(folder, path)
    unreadable = [row | {"image": b"no PNG"} for row in rows]
    write_table(folder, path, schemas.VIEWS, [unreadable], _provenance(made), report)
    caption_views(folder, WEEKS[0], CaptionsConfig())
    page, _ = _page(folder, tmp_path / "page.html", weeks=[WEEKS[0]])
    assert "The picture cannot be read." in page


def test_captions_older_than_their_views_are_refused(folder, tmp_path):
    split_archive(folder, WEEKS[0], ViewsConfig(max_pixels=30_000_000))
    with pytest.raises(OutputError, match="the captions of I20240102 are stale; run the captions stage"):
        _page(folder, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_arguments_that_cannot_be_used_are_refused_in_one_sentence(folder, walked, tmp_path):
    with pytest.raises(ConfigError, match="contains no captions; run the captions stage first"):
        _page(DataFolder(tmp_path / "nowhere"), tmp_path / "page.html")
    with pytest.raises(ConfigError, match="is a folder; name an HTML file"):
        _page(folder, tmp_path)
    with pytest.raises(ConfigError, match="captions none of the same views"):
        _page(folder, tmp_path / "page.html", compare=DataFolder(tmp_path / "nowhere"))
    with pytest.raises(OutputError, match="the captions of I20990101 are missing"):
        _page(folder, tmp_path / "page.html", weeks=["I20990101"])
    with pytest.raises(ConfigError, match="num_samples is 0"):
        CaptionPageConfig(num_samples=0)
    with pytest.raises(ConfigError, match="picture_px is 2"):
        CaptionPageConfig(picture_px=2)


def test_the_browser_shows_the_page_without_errors(folder, walked, tmp_path):
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine")
    other = _copy(walked, tmp_path / "other")
    _recaption(other, ["The image is a square."] * 99, prompt="impact/1")
    _page(folder, tmp_path / "page.html", compare=other)
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    options += ["--disable-component-update", "--disable-sync", "--enable-logging=stderr", "--window-size=1400,2400"]
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    shown = subprocess.run(
        [chromium, *options, profile, "--dump-dom", (tmp_path / "page.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "Content Security Policy" not in shown.stderr and "CONSOLE" not in shown.stderr
    num_pairs = len(re.findall(r"<article", _section(shown.stdout, "pairs")))
    assert num_pairs == min(24, sum(len(_captions(folder, week)) for week in WEEKS))


def test_a_text_is_split_between_words_where_clip_stops_reading():
    text = " ".join(f"word{n}" for n in range(90))
    kept, lost = split_at_context(text)
    assert f"{kept} {lost}" == text and num_tokens(kept) <= 77 < num_tokens(f"{kept} {lost.split()[0]}")


def test_the_lowest_cards_are_kept_in_order_and_of_equal_keys_the_first():
    lowest = LowestCards(3)
    cards = [Card("w", {"view_id": str(n)}) for n in range(6)]
    for key, card in zip((5, 1, 1, 9, 1, 1), cards, strict=True):
        lowest.add(key, card)
    assert lowest.cards() == [cards[1], cards[2], cards[4]]


def test_repeated_captions_keep_one_example_in_bounded_memory():
    repeated = RepeatedCaptions(capacity=10)
    for n in range(400):
        repeated.add("a chair" if n % 3 == 0 else f"lamp {n}", Card("w", {"patent_number": f"D{n}"}))
        assert len(repeated._examples) <= 41
    (card,) = repeated.cards(1)
    assert card.row["patent_number"] == "D0" and "patents" in card.note
