"""One search from its query to its results.

Opening a gallery can take minutes, since the features of its views are computed at the first search under a model. So
everything about the query that can be wrong is checked first, and the gallery is opened after that.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model.dataset.folder import open_dataset
from model.dataset.query_image import QueryError, QueryImageConfig, read_query_file
from model.files import write_text
from model.progress import Progress
from model.search.gallery import Filters, Hit
from model.search.search import Search, SearchConfig, check_k, check_text, open_search, render_results


@dataclass(frozen=True, kw_only=True)
class Query:
    """What is searched for: words or an image.

    Attributes:
        text: The words; None if an image is searched for.
        image: File of the image, TIFF, PNG or JPEG; None if words are searched for.
        k: Number of views to find.
        filters: Which views may be found.
        a_patent_once: Whether each patent is found only once, by its nearest view.
    """

    text: str | None = None
    image: Path | None = None
    k: int = 10
    filters: Filters = Filters()
    a_patent_once: bool = False

    def __post_init__(self) -> None:
        if (self.text is None) == (self.image is None):
            raise QueryError("give a text or an image, one of the two")
        check_k(self.k)
        if self.text is not None:
            check_text(self.text)

    @property
    def name(self) -> str:
        """The words, blanks merged, or the path of the image."""
        return str(self.image) if self.text is None else check_text(self.text)


@dataclass(frozen=True, kw_only=True)
class Found:
    """The results of one search.

    Attributes:
        query: What was searched for.
        picture: (height_px, width_px) uint8, the query's image as it was compared; None for words.
        search: The model and the gallery that answered.
        hits: The views found, the nearest first.
        remarks: What was changed in the query before it was compared, one clause each.
    """

    query: Query
    picture: np.ndarray | None
    search: Search
    hits: list[Hit]
    remarks: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The results as JSON values."""
        return {
            "query": self.query.name,
            "model": self.search.encoder.name,
            "dataset": self.search.gallery.dataset.name,
            "num_views": len(self.search.gallery),
            "search": self.search.method,
            "remarks": list(self.remarks),
            "hits": [hit.to_dict() for hit in self.hits],
        }

    def write_page(self, path: Path) -> None:
        """Write the results as one HTML page with their pictures."""
        query = self.query.name if self.query.image is None else self.query.image.name
        filters = describe_filters(self.query.filters)
        page = render_results(
            self.search, self.hits, query=query, picture=self.picture, filters=filters, remarks=self.remarks
        )
        write_text(path, page)


def find_views(
    query: Query,
    model: str | Path,
    dataset_dir: str | Path,
    config: SearchConfig | None = None,
    *,
    progress: Progress | None = None,
) -> Found:
    """Find the views of a dataset that are nearest to a query.

    Args:
        query: What is searched for.
        model: A run folder, a model folder, "local-dir:FOLDER", "hf-hub:NAME", or "ARCHITECTURE/TAG".
        dataset_dir: A dataset folder; all its splits are searched.
        config: Settings.
        progress: Called after each batch of views that is embedded.

    Raises:
        QueryError: The image cannot be read.
        ArchitectureError, DatasetError, DeviceError: The model, the dataset or the device cannot be used.
    """
    image = None
    if query.image is not None:
        image = read_query_file(query.image, QueryImageConfig.of_dataset(open_dataset(dataset_dir)))
    search = open_search(model, dataset_dir, config, progress=progress)
    if image is not None:
        hits = search.by_image(image.pixels, query.k, query.filters, a_patent_once=query.a_patent_once)
        return Found(query=query, picture=image.pixels, search=search, hits=hits, remarks=image.remarks)
    hits = search.by_text(query.name, query.k, query.filters, a_patent_once=query.a_patent_once)
    return Found(query=query, picture=None, search=search, hits=hits, remarks=search.remarks_on(query.text or ""))


def describe_filters(filters: Filters) -> str:
    """Filters in words; empty if all views pass.

    >>> describe_filters(Filters.parse(["D7"], "2021", ""))
    'class D7, granted since 2021-01-01'
    """
    parts = [f"class {name}" for name in filters.classes]
    if filters.granted_from:
        parts.append(f"granted since {filters.granted_from}")
    if filters.granted_to:
        parts.append(f"granted until {filters.granted_to}")
    return ", ".join(parts)
