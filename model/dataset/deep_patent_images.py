"""DeepPatent as a dataset folder: its listed drawings, read once, small and grey, split and role beside each.

    datasets/NAME/test-00000-of-00007.parquet, …    one row an image that could be read, in the order of the lists
    datasets/NAME/dataset.json                      written last: files, and how many of each list were left out and why

Every model then reads 8 KB an image instead of a sheet. Files appear whole or not at all, and say in their footers what
they were made from, so that a run that was stopped goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
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

VERSION = 1  # counts up when equal inputs would give other files
KIND = "deep_patent"
MISSING, UNREADABLE, LISTED_TWICE, ALSO_A_QUERY = "missing_image", "unreadable_image", "listed_twice", "also_a_query"
_IDENTITY = b"designclip"
_ABSENT = -1  # size of a file that is not there
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


@dataclass(frozen=True, kw_only=True)
class DeepPatentConfig(Config):
    """How DeepPatent's drawings are kept.

    Attributes:
        splits: Of "train", "validation" and "test", those whose lists are read.
        size_px: Side of the square that a drawing is padded and shrunk to; a smaller one keeps its size.
        jpeg_quality: From 1 to 100.
        images_per_file: Of the lists; one Parquet file is made from so many.
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
class _Wanted:
    """One image that a file is to hold; `reason` says why it is not looked at, where it is not."""

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
    """Make a dataset folder of DeepPatent's lists and images; one that is done and intact is given back at once.

    An image counts as changed when its size in bytes does.

    Args:
        lists_dir: Holds the published lists.
        images_dir: Holds the folders that they name, such as I20180102.
        out_dir: Becomes the dataset folder; its name is the dataset's.
        config: How drawings are kept; the defaults where None.
        advance: Hears of images done, and of how many.

    Returns:
        What `dataset.json` holds.

    Raises:
        DatasetError: A list cannot be used, or none of the images of a list is there.
        ConfigError: The folder holds another dataset.
    """
    config = config or DeepPatentConfig()
    lists_dir, images_dir, out_dir = Path(lists_dir), Path(images_dir), Path(out_dir)
    lists = {split: read_lists(lists_dir, split) for split in LISTS if split in config.splits}
    wanted = {split: _wanted(by_role, images_dir) for split, by_role in lists.items()}
    for split, images in wanted.items():
        if all(image.num_bytes == _ABSENT for image in images):
            raise DatasetError(
                f"{images_dir}: none of the {len(images):,} images that the {split} lists name is there, such as "
                f"{images[0].image.path}; name the folder that holds {Path(images[0].image.path).parts[0]}"
            )
    out_dir.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(out_dir):
        return _Maker(images_dir, out_dir, config, progress).make(wanted)


def _wanted(by_role: dict[str, list[ListedImage]], images_dir: Path) -> list[_Wanted]:
    """The images of a split's lists, query before database, with why some are left out before they are opened."""
    queries = {image.path for image in by_role.get(QUERY, ())}
    wanted = []
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
            wanted.append(_Wanted(image, role, reason, num_bytes))
    return wanted


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else _ABSENT
    except OSError:
        return _ABSENT


class _Maker:
    """Makes the files of one dataset folder."""

    def __init__(self, images_dir: Path, out_dir: Path, config: DeepPatentConfig, progress: Progress | None) -> None:
        self.images_dir = images_dir
        self.out_dir = out_dir
        self.config = config
        self.progress = progress
        self.made = read_json(out_dir / "dataset.json") or {}
        if self.made and self.made.get("kind") != KIND:
            raise ConfigError(f"{out_dir} holds another dataset; choose another name for DeepPatent")

    def make(self, wanted: dict[str, list[_Wanted]]) -> dict[str, Any]:
        """Make what is not there already, drop what belongs to nothing any more, and say what was made."""
        kept_hashes = {file["name"]: file["sha256"] for file in self.made.get("files", [])}
        num_all, num_done = sum(len(images) for images in wanted.values()), 0
        files: list[dict[str, Any]] = []
        dropped = {split: {role: Counter[str]() for role in LISTS[split]} for split in wanted}
        for split, images in wanted.items():
            size = self.config.images_per_file
            num_files = -(-len(images) // size)
            for number in range(num_files):
                some = images[number * size : (number + 1) * size]
                path = self.out_dir / f"{split}-{number:05d}-of-{num_files:05d}.parquet"
                reasons = self._make_file(path, split, some, kept_hashes.get(path.name))
                for one, reason in zip(some, reasons, strict=True):
                    if reason is not None:
                        dropped[split][one.role][reason] += 1
                num_rows = sum(reason is None for reason in reasons)
                files.append({"name": path.name, "split": split, "num_rows": num_rows, "sha256": sha256_of_file(path)})
                num_done += len(some)
                if self.progress is not None:
                    self.progress(num_done, num_all, {"doing": f"images of {split}"})
        for path in self.out_dir.glob("*.parquet"):
            if path.name not in {file["name"] for file in files}:
                path.unlink()
        values = self._describe(files, wanted, dropped)
        if values != self.made:
            write_json(self.out_dir / "dataset.json", values)
        return values

    def _describe(
        self,
        files: list[dict[str, Any]],
        wanted: dict[str, list[_Wanted]],
        dropped: dict[str, dict[str, Counter[str]]],
    ) -> dict[str, Any]:
        lists: dict[str, dict[str, Any]] = {}
        for split, by_role in dropped.items():
            for role, reasons in by_role.items():
                num_in = sum(one.role == role for one in wanted[split])
                lists.setdefault(split, {})[role] = {
                    "file": LISTS[split][role],
                    "num_in": num_in,
                    "num_out": num_in - reasons.total(),
                    "dropped": dict(sorted(reasons.items())),
                }
            num_out = sum(entry["num_out"] for entry in lists[split].values())
            num_rows = sum(file["num_rows"] for file in files if file["split"] == split)
            if num_rows != num_out:
                raise DatasetError(f"{self.out_dir}: {num_rows} images of {split} where {num_out} were expected")
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

    def _make_file(self, path: Path, split: str, some: list[_Wanted], sha256: str | None) -> list[str | None]:
        """Make one file unless it is there; for each image why it was left out, None for those that were not."""
        identity = {
            "version": VERSION,
            "settings": sha256_of_json([self.config.size_px, self.config.jpeg_quality]),
            "images": sha256_of_json([[one.image.path, one.role, one.reason, one.num_bytes] for one in some]),
        }
        reasons = _read_reasons(path, identity, sha256)
        if reasons is not None and len(reasons) == len(some):
            return reasons
        with ThreadPoolExecutor(self.config.num_workers, thread_name_prefix="drawing") as pool:
            try:
                made = list(pool.map(self._read, some))
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
            for one, image in zip(some, made, strict=True)
            if isinstance(image, bytes)
        ]
        reasons = [None if isinstance(image, bytes) else image for image in made]
        footer = {_IDENTITY: json.dumps({**identity, "reasons": reasons})}
        with atomic_write(path) as aside:
            pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA.with_metadata(footer)), aside, compression="zstd")
        return reasons

    def _read(self, one: _Wanted) -> bytes | str:
        """JPEG of an image, or why it is left out."""
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
    """What a file that is there says of its images; None where it is absent, damaged, or of something else.

    Args:
        sha256: What it should be; None where that is not known yet.
    """
    try:
        values = json.loads((pq.read_schema(path).metadata or {}).get(_IDENTITY, b"null"))
        if not values or (sha256 is not None and sha256_of_file(path) != sha256):
            return None
    except (FileNotFoundError, pa.ArrowException, OSError, ValueError):
        return None
    reasons: list[str | None] = values.pop("reasons", [])
    return reasons if values == identity else None
