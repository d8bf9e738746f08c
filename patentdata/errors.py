"""The errors that `patentdata` raises; the message of each is one sentence that says what to do.

Flaws of single patents are not among them: those are counted in a `Report`, and the work continues. An error ends what
was asked for, and its message names the patent, the sheet or the file.
"""


class PatentDataError(Exception):
    """Base of every error that `patentdata` raises on purpose; its message is meant for the user."""


class ConfigError(PatentDataError, ValueError):
    """A setting that cannot be used; the message says what would be accepted."""


class SourceError(PatentDataError):
    """A source of archives that cannot be listed or read."""


class SourceDownError(SourceError):
    """A source that gives no file at present: it cannot be reached, is out of order, or refuses the key."""


class SourceClosedError(SourceDownError):
    """A source that asks to be left alone for longer than a run waits; asking it for other files is of no use."""


class SourceChangedError(SourceError):
    """A file that a source listed is gone, or has been replaced; the source has to be listed again."""


class ArchiveError(PatentDataError):
    """A file that is not a weekly archive, is cut short, or holds what an archive must not hold."""


class GrantParseError(PatentDataError):
    """A grant document that cannot become a row; the message names the document and the part that is missing."""


class SheetError(PatentDataError):
    """A drawing that is not a readable TIFF, or is beyond the size bounds."""


class OutputError(PatentDataError):
    """A file of the data folder that is missing, is damaged, or could not be written."""


class EmptyDatasetError(PatentDataError):
    """A dataset without a view, which nothing could be trained on or measured with."""


class ReconciliationError(PatentDataError):
    """A stage whose inputs are not its outputs plus its counted drops: a bug here, never a flaw of the data."""
