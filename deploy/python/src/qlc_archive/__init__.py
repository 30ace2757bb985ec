"""Archives of qlc, read from Python: only what is published and checked, in order, as Arrow, Polars or events."""

from importlib.metadata import version

from ._published import Partition
from .archive import Archive, Coverage, Gap, Verified
from .errors import (
    ArchiveError,
    BinaryError,
    DamagedError,
    FormatError,
    NotFoundError,
    NotPublishedError,
)
from .events import (
    Event,
    Funding,
    Instrument,
    Liquidation,
    MarkPrice,
    OpenInterest,
    Other,
    Quote,
    Trade,
)

__version__ = version("qlc-archive")

__all__ = [
    "Archive",
    "ArchiveError",
    "BinaryError",
    "Coverage",
    "DamagedError",
    "Event",
    "FormatError",
    "Funding",
    "Gap",
    "Instrument",
    "Liquidation",
    "MarkPrice",
    "NotFoundError",
    "NotPublishedError",
    "OpenInterest",
    "Other",
    "Partition",
    "Quote",
    "Trade",
    "Verified",
    "__version__",
]
