"""What the HTTP side may be told, checked."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final

from collector.errors import ConfigurationError
from storage_backends.settings import StoreSettings

MAX_ROWS: Final = 50_000
"""Rows in one answer, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """Settings of `serve`. Times in seconds; `keys` are hashes, see `serve.keys`.

    `requests_per_s` and `burst` bound each key and each address; `max_queries` those that read the store at a time,
    each of them for `query_timeout_s` at most.
    """

    store: StoreSettings
    host: str = "127.0.0.1"
    port: int = 8000
    keys: tuple[str, ...] = ()
    requests_per_s: float = 50.0
    burst: int = 200
    max_queries: int = 8
    query_timeout_s: float = 20.0
    max_body_bytes: int = 16_384
    max_connections: int = 4_096
    head_timeout_s: float = 10.0
    write_timeout_s: float = 20.0

    def __post_init__(self) -> None:
        """Refuses an address that others can reach without a key.

        Raises:
            ConfigurationError: see above.
        """
        if not self.keys and not is_loopback(self.host):
            raise ConfigurationError(
                "--http-host",
                self.host,
                "can be reached from elsewhere, so it needs a key: make one with `collector serve --new-key` and set "
                "--api-key (or API_KEY), or bind 127.0.0.1",
            )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
