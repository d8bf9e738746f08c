"""Waiting for an object store that does not answer for a moment, such as one that is being restarted.

Only those wait who have reached the store before: a run that has locked its folder, and its workers. To anybody else a
store that does not answer is a wrong address, which is reported at once.
"""

from __future__ import annotations

from fsspec import AbstractFileSystem

_TRIES = 13  # the waits between them, 0.1 s to 15 s, add up to 73 s


def unreachable_errors(fs: AbstractFileSystem) -> tuple[type[Exception], ...]:
    """Errors of a file system whose store cannot be reached; those of S3 are not all of them OSErrors."""
    if "s3" not in fs.protocol:
        return (OSError,)
    from botocore.exceptions import BotoCoreError

    return OSError, BotoCoreError


def wait_through_outages(fs: AbstractFileSystem) -> None:
    """Have a file system try again for about a minute if its store cannot be reached; no more than usual if not S3."""
    if "s3" not in fs.protocol:
        return
    import s3fs.core
    from botocore.exceptions import ConnectionError as UnreachableError

    if UnreachableError not in s3fs.core.S3_RETRYABLE_ERRORS:
        s3fs.core.add_retryable_error(UnreachableError)
    fs.retries = _TRIES
