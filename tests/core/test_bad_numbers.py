"""Texts that are no plain decimals never become numbers."""

from __future__ import annotations

import pytest

from collector.core.decimals import BadNumber, Decimals, parse_column, parse_levels


@pytest.mark.parametrize(
    "text", ["", ".", "abc", "1a", "1e5", "-1", "+1", " 1", "1,2", "1.", ".5", "1.2.3", "٣", "1;2"]
)
def test_a_text_that_is_no_plain_decimal_is_refused(text: str) -> None:
    for before in ([], ["1.5"]):
        with pytest.raises(BadNumber):
            parse_column([*before, text], Decimals())
        levels = "[" + ",".join(f'["{one}","2.0"]' for one in [*before, text]) + "]"
        with pytest.raises(BadNumber):
            parse_levels([levels.encode()], [b"[]"], Decimals(), Decimals())
