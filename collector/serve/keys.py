"""API keys: made at random, kept as hashes, compared in constant time.

A key has 256 random bits, so a plain SHA-256 is as good as any slow hash: there is nothing to guess. Settings may hold
a key or its hash, `sha256:…`; in memory there are hashes only.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable

from collector.errors import ConfigurationError

_PREFIX = "sha256:"
_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_SHORTEST = 16


def new_key() -> str:
    """A fresh key."""
    return secrets.token_urlsafe(32)


def hashed(key: str) -> str:
    """What is kept of a key."""
    return _PREFIX + hashlib.sha256(key.encode()).hexdigest()


def read_keys(texts: Iterable[str]) -> tuple[str, ...]:
    """Hashes of keys that are given as keys or as hashes.

    Raises:
        ConfigurationError: one is too short to be safe, or a damaged hash; never shows it.
    """
    found = []
    for text in (one.strip() for one in texts):
        if text.startswith(_PREFIX):
            if not _HASH.fullmatch(text):
                raise ConfigurationError("--api-key", "sha256:…", "is no hash of 64 hexadecimal digits")
            found.append(text)
        elif len(text) < _SHORTEST:
            raise ConfigurationError(
                "--api-key", "…", f"is shorter than {_SHORTEST} characters; make one with `collector serve --new-key`"
            )
        else:
            found.append(hashed(text))
    return tuple(dict.fromkeys(found))


def matching(key: str, hashes: Iterable[str]) -> str | None:
    """The hash that `key` belongs to. Takes the same time whichever it is, or none."""
    given = hashed(key)
    found = None
    for one in hashes:
        if hmac.compare_digest(given, one):
            found = one
    return found
