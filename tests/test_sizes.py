from __future__ import annotations

import click
import pytest

from collector.sizes import Size


@pytest.mark.parametrize(
    ("text", "size"),
    [("1000", 1000), ("5k", 5000), ("500MB", 500_000_000), ("1.5 GiB", 3 << 29), ("2tb", 2 * 10**12), (4096, 4096)],
)
def test_sizes(text: object, size: int) -> None:
    assert Size(1).convert(text, None, None) == size


@pytest.mark.parametrize("text", ["", "MB", "-5", "1e9", "5 parsecs", "999"])
def test_what_is_no_size_is_named(text: str) -> None:
    with pytest.raises(click.BadParameter, match=text or "no size"):
        Size(1000).convert(text, None, None)
