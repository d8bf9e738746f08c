"""Settings of evaluation, checked when they are built."""

from __future__ import annotations

from dataclasses import dataclass, field

from model.clip.precision import PRECISIONS
from model.dataset.classes import PROMPTS, SCHEMES
from model.dataset.folder import CAPTION_COLUMNS, LINES
from model.settings import ADDED_LATER, RESULT_UNTOUCHED, Config, require

TASKS = ("retrieval", "zero_shot", "image_retrieval", "prior_art", "linear_probe", "fine_tuned", "deep_patent")
CHEAP_TASKS = ("retrieval", "zero_shot", "image_retrieval", "prior_art", "fine_tuned")
"""Tasks that need at most a small sample of the training split; all its images would take most of the time."""

LEAKS = ("patents", "families", "images", "near_duplicates", "front_pages", "titles", "other_training")
SCORINGS = ("max", "mean", "maxsim", "weighted")
FUSIONS = ("none", "rrf")
PROJECTIONS = ("none", "class_texts")


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig(Config):
    """What is measured, and on what.

    Attributes:
        tasks: Names of tasks: "retrieval" is text → image and image → text, "zero_shot" and "linear_probe" classify,
            "fine_tuned" classifies with the model's own head, "image_retrieval" finds the other views of a patent,
            "prior_art" finds what the examiner cited, "deep_patent" is the protocol of the DeepPatent data set.
        split: Split of the dataset that provides queries and gallery.
        lines: Which lines queries and gallery show: "all", or "claimed" without what the grants do not claim; views in
            which nothing is unclaimed are the same in both.
        against: A second model, named as for `--model`, that the first is compared with query by query.
        untrained: Whether the same architecture with fresh weights is measured as well.
        caption: Column with the text of a view; a view without it is searched for by its `text`.
        cutoffs: The k of recall@k, ascending.
        max_queries: At most this many views, drawn with `seed`, are queries; the gallery stays whole. None: all views.
        gallery_size: Size of the small galleries that text retrieval is measured on in addition to the whole split:
            one view each of this many patents.
        num_galleries: Number of small galleries; 0 draws none.
        schemes: Classifications: "uspc", "locarno".
        prompts: Texts for a class, with {} for its title; their features are averaged.
        readout_tau: Class prior under which the model's own head is read out: 0 is the natural one, for accuracy on
            what is filed; 1 is a balanced one, for all classes alike; values between and beyond are allowed.
        scoring: How prior art makes the scores of views into the score of a patent: "max", "mean", "maxsim" or
            "weighted"; see `model.clip.patent_scores`.
        fusion: "rrf" also measures the fused ranking of model and BM25 in text retrieval and prior art.
        projection: "class_texts" also measures images on the principal axes of the class texts in image retrieval and
            prior art.
        prior_art_splits: Further splits whose patents are searched for prior art.
        probe_strengths: Values of C (the inverse of the penalty) that the linear probe chooses from, ascending.
        probe_max_views: The linear probe learns from at most this many training views, drawn with `seed`.
        stop_on: Leak checks that end the evaluation if they find something; the others only warn.
        num_resamples: Bootstrap resamples (over patents) for each interval.
        num_examples: Number of best queries, and of worst queries, shown in the report.
        seed: Seed of everything that is drawn: queries, galleries, resamples, fresh weights.
        device: "auto", "cpu" or "cuda".
        precision: Number format that features are computed in: "fp32", "bf16", or "tf32" on a GPU.
        batch_size: Views or texts embedded at a time.
        max_chunk_mb: Memory for the scores of one chunk of queries; 0 for 64 MB on the CPU, and for an eighth of the
            memory that is free on a GPU.
        num_workers: Threads that decode images, in each process.
        num_processes: Processes that embed views together, on GPUs one each; 0 starts one a GPU.
    """

    tasks: tuple[str, ...] = CHEAP_TASKS
    split: str = "test"
    lines: str = field(default="all", metadata=ADDED_LATER)
    against: str | None = field(default=None, metadata=RESULT_UNTOUCHED)  # identified by its fingerprint
    untrained: bool = True
    caption: str = "text"
    cutoffs: tuple[int, ...] = (1, 5, 10)
    max_queries: int | None = None
    gallery_size: int = 5000
    num_galleries: int = 5
    schemes: tuple[str, ...] = SCHEMES
    prompts: tuple[str, ...] = PROMPTS
    readout_tau: float = 0.0
    scoring: str = "maxsim"
    fusion: str = "none"
    projection: str = "none"
    prior_art_splits: tuple[str, ...] = ()
    probe_strengths: tuple[float, ...] = (0.1, 1.0, 10.0, 100.0, 1000.0)
    probe_max_views: int = 100_000
    stop_on: tuple[str, ...] = ("patents", "families")
    num_resamples: int = 1000
    num_examples: int = 5
    seed: int = 0
    device: str = "auto"
    precision: str = field(default="fp32", metadata=ADDED_LATER)
    batch_size: int = field(default=128, metadata=RESULT_UNTOUCHED)
    max_chunk_mb: int = field(default=0, metadata=RESULT_UNTOUCHED)
    num_workers: int = field(default=2, metadata=RESULT_UNTOUCHED)
    num_processes: int = field(default=1, metadata=RESULT_UNTOUCHED)

    def __post_init__(self) -> None:
        self._check_choices()
        self._check_splits_and_texts()
        self._check_numbers()

    def _check_choices(self) -> None:
        self._require_names("tasks", TASKS, at_least=1)
        self._require_names("stop_on", LEAKS)
        self._require_names("schemes", SCHEMES, at_least=1)
        for name, choices in (
            ("scoring", SCORINGS),
            ("fusion", FUSIONS),
            ("projection", PROJECTIONS),
            ("lines", LINES),
            ("precision", PRECISIONS),
        ):
            value = getattr(self, name)
            require(value in choices, f"{name} is {value!r}; use one of {', '.join(choices)}")
        require(
            self.caption in CAPTION_COLUMNS, f"caption is {self.caption!r}; use one of {', '.join(CAPTION_COLUMNS)}"
        )

    def _check_splits_and_texts(self) -> None:
        require(bool(self.split), 'split is empty; name one of the dataset\'s splits, such as "test"')
        require(
            self.split not in self.prior_art_splits and len(set(self.prior_art_splits)) == len(self.prior_art_splits),
            f"prior_art_splits is {self.prior_art_splits}; name each split once, and leave out {self.split!r}, which "
            "is always searched",
        )
        require(self.against is None or bool(self.against), "against is empty; name a second model, or omit it")
        require(
            bool(self.prompts) and all(prompt.count("{}") == 1 for prompt in self.prompts),
            f"prompts is {self.prompts}; each needs exactly one {{}}, for the title of the class",
        )

    def _check_numbers(self) -> None:
        require(
            bool(self.cutoffs) and min(self.cutoffs) >= 1 and list(self.cutoffs) == sorted(set(self.cutoffs)),
            f"cutoffs is {self.cutoffs}; use ascending numbers of at least 1, such as (1, 5, 10)",
        )
        strengths = self.probe_strengths
        require(
            bool(strengths) and min(strengths) > 0 and list(strengths) == sorted(set(strengths)),
            f"probe_strengths is {strengths}; use ascending positive numbers, such as (1.0, 10.0)",
        )
        require(
            -1 <= self.readout_tau <= 2,
            f"readout_tau is {self.readout_tau}; use 0 for the natural class prior, 1 for a balanced one, or a number "
            "from -1 to 2",
        )
        require(self.max_queries is None or self.max_queries >= 1, f"max_queries is {self.max_queries}; use 1 or more")
        require(self.gallery_size >= 2, f"gallery_size is {self.gallery_size}; it must be at least 2")
        for name in ("batch_size", "num_resamples", "num_workers", "probe_max_views"):
            require(getattr(self, name) >= 1, f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("max_chunk_mb", "num_examples", "num_galleries", "num_processes", "seed"):
            require(getattr(self, name) >= 0, f"{name} is {getattr(self, name)}; it must not be negative")

    def _require_names(self, setting: str, known: tuple[str, ...], *, at_least: int = 0) -> None:
        names = getattr(self, setting)
        usable = len(names) >= at_least and len(set(names)) == len(names) and set(names) <= set(known)
        require(usable, f"{setting} is {names}; choose from {', '.join(known)}, each at most once")
