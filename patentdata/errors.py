"""What can go wrong, each in one sentence that says what to do.

Flaws of patents are not here: they are counted in a `Report`. An exception is a broken promise, and its message names
the patent, the sheet or the file.
"""


class PatentDataError(Exception):
    """Base of every error that `patentdata` raises on purpose; its text is meant for the user."""


class ConfigError(PatentDataError, ValueError):
    """A setting that cannot be used; the message says what would be accepted."""


class SourceError(PatentDataError):
    """A source of archives that cannot be listed or read."""


class SourceDownError(SourceError):
    """A source that gives nothing now: out of reach, out of order, refusing the key; its other files fare no better."""


class SourceChangedError(SourceError):
    """What a source listed is no longer there, or is another file by now; a fresh listing tells."""


class ArchiveError(PatentDataError):
    """A weekly archive that is not an archive, is cut short, or holds what an archive must not hold."""


class GrantParseError(PatentDataError):
    """A grant document that cannot become a row; the message names the document and the missing part."""


class SheetError(PatentDataError):
    """A drawing that is no readable TIFF, or one beyond the size bounds."""


class OutputError(PatentDataError):
    """A file of the data folder that is missing, damaged, or could not be written."""


class ReconciliationError(PatentDataError):
    """A stage whose inputs are not its outputs plus its counted drops: a bug here, never a flaw of the data."""
