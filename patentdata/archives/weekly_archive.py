"""What a source lists: files, and among them the weekly archives.

Both are plain values. They name no key and open nothing (`sources` does), so they can be compared with what the data
folder notes and can be sent to any worker.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

from patentdata.archives.downloads import shown_url
from patentdata.errors import SourceError
from patentdata.store.folder import resolve
from patentdata.store.hashes import mark_of, remember_sha256, sha256_of

_SIZE_ROUNDING = 1e-6  # sizes have been seen rounded to a float's seven digits
_KIND_OF_SCHEME = {"http": "mirror", "https": "mirror", "file": "folder", "local": "folder"}


@dataclass(frozen=True, kw_only=True)
class ListedFile:
    """One file as its source lists it; an attribute is None if the source does not state it.

    Attributes:
        name: The file's own name, without folders.
        url: Its address, without keys.
        num_bytes: Its size.
        released: When it was published, ISO 8601.
        modified: When it was last changed, ISO 8601.
        etag: The server's entity tag of this very content.
        sha256: Hash of the content, hexadecimal.
    """

    name: str
    url: str
    num_bytes: int | None = None
    released: str | None = None
    modified: str | None = None
    etag: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class WeeklyArchive:
    """One weekly archive as its source lists it; an attribute is None if the source does not state it.

    Attributes:
        week: Canonical name of the week, "I20210105".
        revision: 0 for the first issue, n for `_rn`.
        file_name: Name of the file, as the source spells it.
        url: Address of the file, without keys.
        num_bytes: Size of the archive.
        released: When it was published, ISO 8601.
        modified: When it was last changed, ISO 8601.
        etag: The server's entity tag of this very content.
        listed_sha256: Hash of the archive, hexadecimal.
        product: The portal's product that the archive belongs to; None for other sources.
    """

    week: str
    revision: int
    file_name: str
    url: str
    num_bytes: int | None = None
    released: str | None = None
    modified: str | None = None
    etag: str | None = None
    listed_sha256: str | None = None
    product: str | None = None

    @property
    def date(self) -> datetime.date:
        """The day of issue."""
        return datetime.datetime.strptime(self.week[1:], "%Y%m%d").date()

    @property
    def kind(self) -> str:
        """Kind of the source: "portal", "mirror", "store" (an object store) or "folder" (on this machine)."""
        if self.product is not None:
            return "portal"
        scheme = self.url.partition("://")[0] if "://" in self.url else "file"
        return _KIND_OF_SCHEME.get(scheme, "store")

    def stated(self) -> dict[str, Any]:
        """What the source states of the archive, as plain values without keys."""
        return {
            "kind": self.kind,
            "file_name": self.file_name,
            "url": shown_url(self.url) if self.kind in ("portal", "mirror") else self.url,
            "revision": self.revision,
            "num_bytes": self.num_bytes,
            "released": self.released,
            "modified": self.modified,
            "etag": self.etag,
        }

    def matches_listing(self, noted: dict[str, Any]) -> bool:
        """Whether this archive, by what its source states now, is the one of which `noted` was stated.

        Times and entity tags are compared only if both come from the same kind of source; otherwise name, revision and
        size decide.
        """
        stated = self.stated()
        if noted["file_name"].lower() != self.file_name.lower() or noted["revision"] != self.revision:
            return False
        names = ("released", "modified", "etag") if noted.get("kind", "folder") == self.kind else ()
        if any(None not in (noted.get(name), stated[name]) and noted[name] != stated[name] for name in names):
            return False
        return is_same_size(noted["num_bytes"], self.num_bytes)

    def sha256(self) -> str:
        """Hash of the archive's bytes; an archive that has not changed since it was last hashed is not read again.

        Raises:
            SourceError: The archive cannot be read.
        """
        fs, path = resolve(self.url)
        try:
            return sha256_of(fs, path)
        except OSError as error:
            raise SourceError(f"cannot read {self.url}: {error.strerror or error}") from error

    def mark(self) -> str:
        """The file system's own mark of the archive's present content. Raises OSError."""
        return mark_of(*resolve(self.url))

    def remember_sha256(self, sha256: str, mark: str) -> None:
        """Remember the hash of an archive just read whole, so that `sha256` need not read it again.

        Args:
            sha256: The hash, hexadecimal.
            mark: The archive's mark from before it was read.
        """
        fs, path = resolve(self.url)
        remember_sha256(fs, path, sha256, mark=mark)


def is_same_size(one: int | None, other: int | None) -> bool:
    """Whether two stated sizes agree, except for the rounding of a float; a size that is not stated agrees with any.

    >>> is_same_size(3_712_345_678, 3_712_345_600), is_same_size(1000, 1001), is_same_size(None, 5)
    (True, False, True)
    """
    return one is None or other is None or abs(one - other) <= _SIZE_ROUNDING * max(one, other)
