"""DeepPatent as a dataset folder: its listed drawings, read once, shrunk, and stored with split and role.

    datasets/NAME/test-00000-of-00007.parquet, …    one row an image that could be read, in the order of the lists
    datasets/NAME/dataset.json                      written last: files, and how many images were left out and why

Every model then reads 8 KB an image instead of a whole sheet. Files are written atomically, and their footers say what
they were made from, so that an interrupted import resumes where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import pyarrow as pa
import pyarrow.parquet as pq

from model.dataset.deep_patent_lists import DATABASE, LISTS, QUERY, ListedImage, read_lists
from model.dataset.images import pad_to_square, resize
from model.dataset.query_image import QueryError, decode_picture
from model.errors import ConfigError, DatasetError
from model.files import atomic_write, exclusive_lock, read_json, sha256_of_file, sha256_of_json, write_json
from model.progress import Progress
from model.settings import RESULT_UNTOUCHED, Config, require

VERSION = 2  # raised when equal inputs would give other files
KIND = "deep_patent"
MISSING, UNREADABLE, LISTED_TWICE, ALSO_A_QUERY = "missing_image", "unreadable_image", "listed_twice", "also_a_query"
_IDENTITY = b"designclip"
_ABSENT = -1  # size of a file that does not exist
_SCHEMA = pa.schema(
    [
        ("view_id", pa.string()),
        ("patent_number", pa.string()),
        ("split", pa.string()),
        ("role", pa.string()),
        ("is_front_page", pa.bool_()),
        ("image", pa.binary()),
        ("image_sha256", pa.string()),
    ]
)

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DeepPatentConfig(Config):
    """How DeepPatent's drawings are stored.

    Attributes:
        splits: The splits to import, of "train", "validation" and "test".
        size_px: Side of the square that a drawing is padded and shrunk to; a smaller one keeps its size.
        jpeg_quality: From 1 to 100.
        images_per_file: Number of listed images that go into one Parquet file.
        num_workers: Threads that decode images.
    """

    splits: tuple[str, ...] = ("test",)
    size_px: int = 256
    jpeg_quality: int = 90
    images_per_file: int = 8192
    num_workers: int = field(default=2, metadata=RESULT_UNTOUCHED)

    def __post_init__(self) -> None:
        is_usable = self.splits and set(self.splits) <= set(LISTS) and len(set(self.splits)) == len(self.splits)
        require(bool(is_usable), f"splits is {self.splits}; choose from {', '.join(LISTS)}, each at most once")
        for name in ("size_px", "images_per_file", "num_workers"):
            require(getattr(self, name) >= 1, f"{name} is {getattr(self, name)}; it must be at least 1")
        require(1 <= self.jpeg_quality <= 100, f"jpeg_quality is {self.jpeg_quality}; use 1 to 100")


@dataclass(frozen=True)
class _Candidate:
    """One listed image, and why it is left out before it is opened.

    Attributes:
        image: The line of the list.
        role: "query", "database" or "train".
        reason: Why it is left out; None if it is to be read.
        num_bytes: Size of its file; -1 if there is no such file.
    """

    image: ListedImage
    role: str
    reason: str | None
    num_bytes: int


def import_deep_patent(
    lists_dir: str | Path,
    images_dir: str | Path,
    out_dir: str | Path,
    config: DeepPatentConfig | None = None,
    *,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Make a dataset folder from DeepPatent's lists and images; one that is finished and intact is returned at once.

    An image counts as changed if its size in bytes has changed.

    Args:
        lists_dir: Folder of the published lists.
        images_dir: Folder that contains the folders named in the lists, such as I20180102.
        out_dir: Becomes the dataset folder; its name becomes the name of the dataset.
        config: How drawings are stored; None for the defaults.
        progress: Called after each file with the images done and the images in all.

    Returns:
        Content of `dataset.json`.

    Raises:
        DatasetError: A list cannot be used, or none of its images exists.
        ConfigError: There is another dataset in the folder.
    """
    config = config or DeepPatentConfig()
    lists_dir, images_dir, out_dir = Path(lists_dir), Path(images_dir), Path(out_dir)
    lists = {split: read_lists(lists_dir, split) for split in LISTS if split in config.splits}
    candidates = {split: _candidates_of(by_role, images_dir) for split, by_role in lists.items()}
    for split, images in candidates.items():
        if all(image.num_bytes == _ABSENT for image in images):
            raise DatasetError(
                f"{images_dir}: none of the {len(images):,} images in the {split} lists exists, such as "
                f"{images[0].image.path}; name the folder that contains {Path(images[0].image.path).parts[0]}"
            )
    out_dir.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(out_dir):
        return _Importer(images_dir, out_dir, config, progress).run(candidates)


def _candidates_of(by_role: dict[str, list[ListedImage]], images_dir: Path) -> list[_Candidate]:
    """The images in the lists of a split, query before database."""
    queries = {image.path for image in by_role.get(QUERY, ())}
    candidates = []
    for role, images in by_role.items():
        seen: set[str] = set()
        for image in images:
            num_bytes = _size_of(images_dir / image.path)
            reason = MISSING if num_bytes == _ABSENT else None
            if image.path in seen:
                reason = LISTED_TWICE
            elif role == DATABASE and image.path in queries:
                reason = ALSO_A_QUERY
            seen.add(image.path)
            candidates.append(_Candidate(image, role, reason, num_bytes))
    return candidates


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else _ABSENT
    except OSError:
        return _ABSENT


class _Importer:
    """Writes the files of one dataset folder."""

    def __init__(self, images_dir: Path, out_dir: Path, config: DeepPatentConfig, progress: Progress | None) -> None:
        self.images_dir = images_dir
        self.out_dir = out_dir
        self.config = config
        self.progress = progress
        self.earlier = read_json(out_dir / "dataset.json") or {}
        if self.earlier and self.earlier.get("kind") != KIND:
            raise ConfigError(f"{out_dir} contains another dataset; choose another name for DeepPatent")

    def run(self, candidates: dict[str, list[_Candidate]]) -> dict[str, Any]:
        """Write the files that are missing or outdated, remove files of earlier settings, and describe the result."""
        earlier_hashes = {file["name"]: file["sha256"] for file in self.earlier.get("files", [])}
        num_all, num_done = sum(len(images) for images in candidates.values()), 0
        files: list[dict[str, Any]] = []
        dropped = {split: {role: Counter[str]() for role in LISTS[split]} for split in candidates}
        for split, images in candidates.items():
            size = self.config.images_per_file
            num_files = -(-len(images) // size)
            for number in range(num_files):
                part = images[number * size : (number + 1) * size]
                path = self.out_dir / f"{split}-{number:05d}-of-{num_files:05d}.parquet"
                reasons = self._write_file(path, split, part, earlier_hashes.get(path.name))
                for candidate, reason in zip(part, reasons, strict=True):
                    if reason is not None:
                        dropped[split][candidate.role][reason] += 1
                num_rows = sum(reason is None for reason in reasons)
                files.append({"name": path.name, "split": split, "num_rows": num_rows, "sha256": sha256_of_file(path)})
                num_done += len(part)
                if self.progress is not None:
                    self.progress(num_done, num_all, {"doing": f"images of {split}"})
        for path in self.out_dir.glob("*.parquet"):
            if path.name not in {file["name"] for file in files}:
                path.unlink()
        values = self._describe(files, candidates, dropped)
        if values != self.earlier:
            write_json(self.out_dir / "dataset.json", values)
        return values

    def _describe(
        self,
        files: list[dict[str, Any]],
        candidates: dict[str, list[_Candidate]],
        dropped: dict[str, dict[str, Counter[str]]],
    ) -> dict[str, Any]:
        """The content of `dataset.json`. Raises DatasetError unless inputs are outputs and counted drops."""
        lists: dict[str, dict[str, Any]] = {}
        for split, by_role in dropped.items():
            for role, reasons in by_role.items():
                num_in = sum(candidate.role == role for candidate in candidates[split])
                lists.setdefault(split, {})[role] = {
                    "file": LISTS[split][role],
                    "num_in": num_in,
                    "num_out": num_in - reasons.total(),
                    "dropped": dict(sorted(reasons.items())),
                }
            num_out = sum(entry["num_out"] for entry in lists[split].values())
            num_rows = sum(file["num_rows"] for file in files if file["split"] == split)
            if num_rows != num_out:
                raise DatasetError(f"{self.out_dir}: {num_rows} images in {split}, but {num_out} were expected")
        return {
            "name": self.out_dir.name,
            "kind": KIND,
            "captioned": False,
            "fingerprint": sha256_of_json(files),
            "files": files,
            "lists": lists,
            "made": {"version": VERSION, "config": {"image": {"size_px": self.config.size_px, "margin_share": 0.0}}},
            "config": self.config.result_settings,
        }

    def _write_file(self, path: Path, split: str, part: list[_Candidate], sha256: str | None) -> list[str | None]:
        """Write one file, unless it exists and is intact; for each image why it is left out, None if it is not.

        Args:
            path: The file.
            split: Split of all images.
            part: The images.
            sha256: Hash of the existing file as recorded in `dataset.json`; None if it is not recorded.
        """
        identity = {
            "version": VERSION,
            "settings": sha256_of_json([self.config.size_px, self.config.jpeg_quality]),
            "images": sha256_of_json([[one.image.path, one.role, one.reason, one.num_bytes] for one in part]),
        }
        reasons = _read_reasons(path, identity, sha256)
        if reasons is not None and len(reasons) == len(part):
            _LOG.info("%s: not written again, it is intact", path.name)
            return reasons
        # An image is its JPEG bytes, or the reason why it is left out.
        with ThreadPoolExecutor(self.config.num_workers, thread_name_prefix="drawing") as pool:
            try:
                images = list(pool.map(self._read, part))
            finally:
                pool.shutdown(cancel_futures=True)
        rows = [
            {
                "view_id": one.image.view_id,
                "patent_number": one.image.patent_number,
                "split": split,
                "role": one.role,
                "is_front_page": one.image.sheet == 0,
                "image": image,
                "image_sha256": hashlib.sha256(image).hexdigest(),
            }
            for one, image in zip(part, images, strict=True)
            if isinstance(image, bytes)
        ]
        reasons = [None if isinstance(image, bytes) else image for image in images]
        footer = {_IDENTITY: json.dumps({**identity, "reasons": reasons})}
        with atomic_write(path) as temporary:
            pq.write_table(
                pa.Table.from_pylist(rows, schema=_SCHEMA.with_metadata(footer)), temporary, compression="zstd"
            )
        return reasons

    def _read(self, one: _Candidate) -> bytes | str:
        """The JPEG bytes of a shrunken drawing, or the reason why it is left out."""
        if one.reason is not None:
            return one.reason
        try:
            page = decode_picture((self.images_dir / one.image.path).read_bytes())
        except FileNotFoundError:
            return MISSING
        except (OSError, QueryError):
            return UNREADABLE
        square, side = pad_to_square(page), self.config.size_px
        if square.shape[0] > side:
            square = resize(square, (side, side))
        return cv2.imencode(".jpg", square, [cv2.IMWRITE_JPEG_QUALITY, self.config.jpeg_quality])[1].tobytes()


def _read_reasons(path: Path, identity: dict[str, Any], sha256: str | None) -> list[str | None] | None:
    """The reasons recorded in the footer of a file; None if it is absent, damaged, or made from other inputs.

    Args:
        path: The file.
        identity: What the file should be made from.
        sha256: Its expected hash; None if that is not known.
    """
    try:
        values = json.loads((pq.read_schema(path).metadata or {}).get(_IDENTITY, b"null"))
        if not values or (sha256 is not None and sha256_of_file(path) != sha256):
            return None
    except (FileNotFoundError, pa.ArrowException, OSError, ValueError):
        return None
    reasons: list[str | None] = values.pop("reasons", [])
    return reasons if values == identity else None
