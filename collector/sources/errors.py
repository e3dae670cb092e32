"""What can go wrong between an exchange and a feed.

CollectorError
├── ConfigurationError  a setting that cannot be right, whatever the exchange says
└── FeedError           the exchange cannot be reached or used as set; raised only while starting
    ├── UnreachableError    it does not answer now, which may pass
    └── SymbolError         a market that the exchange does not list (also a ValueError)
        └── NotOursError        all wanted markets fall to other collectors
RestError               one REST request failed; the caller may repeat it
"""

from __future__ import annotations

from collector.errors import CollectorError


class FeedError(CollectorError):
    """The feed cannot start. The message names the setting, its value and the mend."""


class UnreachableError(FeedError):
    """The exchange gave no answer that is final: the same may succeed later."""


class SymbolError(FeedError, ValueError):
    """A wanted market is not to be had."""


class NotOursError(SymbolError):
    """Of the markets of one exchange none falls to this collector."""


class RestError(Exception):
    """A REST request gave no usable answer.

    Attributes:
        status: HTTP status, None when no answer came (connection refused, no such host, timeout).
        code: the exchange's own number, such as -1121, where the body had one.
    """

    def __init__(self, message: str, status: int | None = None, code: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code

    @property
    def transient(self) -> bool:
        """Whether the same request may succeed later: no answer, a server's fault, or a limit that passes."""
        return self.status is None or self.status >= 500 or self.status in {403, 408, 418, 429}


class ConnectionLostError(Exception):
    """A websocket connection could not be made, or is gone. The message says how."""
