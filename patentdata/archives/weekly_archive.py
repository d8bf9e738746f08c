"""Which weekly archives a source holds.

A source is the Open Data Portal (`portal`, or `portal:PTGRDT` with the product's name), a mirror on the web, or a
folder: a local path or any fsspec address. Names are read, never guessed: the extension of a week follows no rule, and
a re-issue `_r1` replaces the week before it.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any, BinaryIO

import fsspec

from patentdata.archives.downloads import DownloadsConfig, ListedFile, shown_url
from patentdata.archives.mirrors import open_mirrored
from patentdata.archives.portal import Portal, PortalConfig
from patentdata.errors import SourceError
from patentdata.store.hashes import sha256_of

_SIZE_ROUNDING = 1e-6  # sizes have been seen rounded to a float's seven digits


@dataclass(frozen=True, kw_only=True)
class WeeklyArchive:
    """One weekly archive as its source offers it.

    Attributes:
        week: Canonical name, "I20210105".
        revision: 0 for the first issue, n for `_rn`.
        file_name: As the source spells it.
        url: Where it lies.
        num_bytes: Size that the source states; None where it does not.
        released: When it was published, as the source states it; None where it does not.
        modified: When it was last changed, likewise.
        etag: The server's mark of this very content, likewise.
        listed_sha256: Hash that the source lists; None where it lists none.
        product: The portal's product it belongs to; None for other sources.
        portal: How the portal is asked.
        downloads: How patient a download is.
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
    portal: PortalConfig = PortalConfig()
    downloads: DownloadsConfig = DownloadsConfig()

    @property
    def date(self) -> datetime.date:
        return datetime.datetime.strptime(self.week[1:], "%Y%m%d").date()

    @property
    def kind(self) -> str:
        """Kind of the source: "portal", "mirror", "store" (an object store) or "folder" (on this machine)."""
        if self.product is not None:
            return "portal"
        scheme = self.url.partition("://")[0] if "://" in self.url else "file"
        return {"http": "mirror", "https": "mirror", "file": "folder", "local": "folder"}.get(scheme, "store")

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
        """Whether the archive is, by what its source states now, the one of which `noted` was stated.

        Another kind of source has times of its own: then name, revision and size decide.
        """
        stated = self.stated()
        if noted["file_name"].lower() != self.file_name.lower() or noted["revision"] != self.revision:
            return False
        names = ("released", "modified", "etag") if noted.get("kind", "folder") == self.kind else ()
        if any(None not in (noted.get(name), stated[name]) and noted[name] != stated[name] for name in names):
            return False
        return is_same_size(noted["num_bytes"], self.num_bytes)

    def sha256(self) -> str:
        """Hash of the archive's bytes; one that has not changed since is not read again. Raises SourceError."""
        fs, path = fsspec.core.url_to_fs(self.url)
        try:
            return sha256_of(fs, path)
        except OSError as error:
            raise SourceError(f"cannot read {self.url}: {error.strerror or error}") from error

    def open(self, *, to_end: bool = False) -> BinaryIO:
        """Open for reading; raises SourceError, as does reading from it.

        Args:
            to_end: It will be read to its end, so nothing that a server sends early is lost.
        """
        from patentdata.archives.sources import BLOCK_BYTES

        listed = ListedFile(name=self.file_name, url=self.url)
        if self.kind == "portal":
            return Portal(self.portal, self.downloads).open(listed, to_end=to_end)  # type: ignore[return-value]
        if self.kind == "mirror":
            return open_mirrored(listed, config=self.downloads, to_end=to_end)  # type: ignore[return-value]
        try:
            fs, path = fsspec.core.url_to_fs(self.url)
            return fs.open(path, "rb", **({"block_size": BLOCK_BYTES} if self.kind == "store" else {}))
        except OSError as error:
            raise SourceError(f"cannot read {self.url}: {error.strerror or error}") from error

    def relisted(self) -> WeeklyArchive | None:
        """The newest issue of the same week as the portal lists it now; None where it lists none. Raises SourceError.

        Other sources give the archive itself.
        """
        if self.product is None:
            return self
        from patentdata.archives.sources import list_portal

        source = f"portal:{self.product}"
        weeks = list_portal(source, (self.date, self.date), self.portal, self.downloads)
        return next((week for week in weeks if week.week == self.week), None)


def is_same_size(one: int | None, other: int | None) -> bool:
    """Whether two stated sizes are the same but for a float's rounding; a size that is not stated is no other.

    >>> is_same_size(3_712_345_678, 3_712_345_600), is_same_size(1000, 1001), is_same_size(None, 5)
    (True, False, True)
    """
    return one is None or other is None or abs(one - other) <= _SIZE_ROUNDING * max(one, other)
