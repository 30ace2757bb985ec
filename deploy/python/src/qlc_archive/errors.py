"""What can go wrong, each with the message that a person needs."""


class ArchiveError(Exception):
    """Base of all errors of this package."""


class NotFoundError(ArchiveError):
    """The archive, or a series of it, does not exist."""


class NotPublishedError(ArchiveError):
    """The data of a partition is not the one that its `meta.json` names: it is being replaced, or it is damaged."""


class DamagedError(ArchiveError):
    """Data is not what the format says, although its sha256 is right."""


class FormatError(ArchiveError):
    """Rows that another program's format cannot hold as they are."""


class BinaryError(ArchiveError):
    """The program `qlc` is missing, or ended with an error; the text is its own."""

    def __init__(self, message: str, exit_code: int | None = None) -> None:
        super().__init__(message)
        #: The exit code of `qlc`, or None where it could not be started.
        self.exit_code = exit_code
