"""The one error tree: every message names the thing, the reason and the next step."""

from __future__ import annotations


class MediaflowError(Exception):
    """Base of all errors a user may see; `exit_status` is what the command line ends with."""

    exit_status = 3


class UsageError(MediaflowError):
    """The command, a setting or an argument is wrong; nothing was done."""

    exit_status = 2


class ConfigError(UsageError):
    """A configuration file or variable has a wrong key or value; the message names file and line."""


class UnreachableError(MediaflowError):
    """A part that is needed (Redis, a package index, a hub) does not answer."""


class CatalogError(MediaflowError):
    """The catalog cannot be opened, read or written."""


class StorageError(MediaflowError):
    """A disk refuses to be written: full, read-only or failing. It says nothing about any file."""


class ModelError(MediaflowError):
    """A model's files are missing, cannot be fetched, or do not have their SHA-256."""


class MediaError(MediaflowError):
    """One file cannot be analysed.

    `permanent` says that a retry cannot help: the file is empty, cut short, or no medium at all.
    `blameless` says that the cause is not the file (a missing model or mount): it is never given up.
    """

    exit_status = 1

    def __init__(self, reason: str, *, permanent: bool = True, blameless: bool = False) -> None:
        super().__init__(reason)
        self.permanent = permanent and not blameless
        self.blameless = blameless


class NotMediaError(MediaError):
    """A file that is no medium by its name and its first bytes, and that no decoder reads.

    It is skipped, not failed.
    """


class FindingError(MediaflowError):
    """A finding of a worker is invalid; it is rejected and not stored."""
