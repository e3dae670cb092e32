"""What questions over HTTP are asked with, checked and described once."""

from __future__ import annotations

from typing import Annotated

from fastapi import HTTPException, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from collector.questions.rows import table_of
from collector.serve.settings import MAX_ROWS
from collector.times import parse_time

_TIME = "ISO 8601, or Unix time in s, ms, µs or ns"
_TIMES = ["2026-11-20T14:12:45Z"]

Symbol = Annotated[str, Path(max_length=64, examples=["BTCUSDT"], description="BTCUSDT or BTC/USDT")]
OfSymbol = Annotated[str | None, Query(max_length=64, examples=["BTCUSDT"], description="BTCUSDT or BTC/USDT")]
Exchange = Annotated[str | None, Query(max_length=32, pattern=r"^[a-z0-9][a-z0-9_-]*$", examples=["binanceusdm"])]
TableName = Annotated[str, Path(max_length=32, examples=["trades"], description="one of SCHEMA.md")]
At = Annotated[str, Query(max_length=40, examples=_TIMES, description=_TIME)]
Time = Annotated[str | None, Field(max_length=40, examples=_TIMES, description=_TIME)]


class Span(BaseModel):
    """From when to when."""

    model_config = ConfigDict(extra="forbid")  # a name that is misspelled would change what is answered

    start_time: Time = None
    end_time: Time = None

    def ns(self) -> tuple[int | None, int | None]:
        """Both in ns.

        Raises:
            HTTPException: 400, not times, or not in this order.
        """
        start_ns = None if self.start_time is None else instant_ns("start_time", self.start_time)
        end_ns = None if self.end_time is None else instant_ns("end_time", self.end_time)
        if start_ns is not None and end_ns is not None and start_ns >= end_ns:
            raise HTTPException(400, "end_time is not after start_time")
        return start_ns, end_ns


class Rows(Span):
    """Which rows of a table: the last `limit`, or with a start or cursor the first ones from there on."""

    exchange: Exchange = None
    limit: int = Field(1000, ge=1, le=MAX_ROWS)
    cursor: str | None = Field(None, max_length=512, description="`next_cursor` of the page before")


class Epochs(Rows):
    """The same of a table with a row each second."""

    limit: int = Field(300, ge=1, le=MAX_ROWS)


class Bars(Span):
    """Which bars."""

    timeframe: str = Field("1m", max_length=8, examples=["1m"])
    exchange: Exchange = None
    limit: int = Field(500, ge=1, le=5000)


class Levels(BaseModel):
    """Which books in price levels."""

    model_config = ConfigDict(extra="forbid")

    tick_size: float | None = Field(None, gt=0, examples=[10], description="of those collected; default: the finest")
    exchange: Exchange = None
    limit: int = Field(1, ge=1, le=5000)
    end_time: Time = None


class Gaps(Span):
    """Which gaps: those that touch the span."""

    symbol: OfSymbol = None
    exchange: Exchange = None
    limit: int = Field(1000, ge=1, le=MAX_ROWS)
    healed: bool = Field(True, description="also those of which nothing is missing any more")


def instant_ns(name: str, text: str) -> int:
    """A time of a request, in ns.

    Raises:
        HTTPException: 400, none, or not one that a row can have.
    """
    try:
        found = parse_time(text)
    except (ValueError, OverflowError) as error:
        raise HTTPException(400, f"{name}: {error}") from error
    if not 0 <= found < 2**63:
        raise HTTPException(400, f"{name}: is not within the years 1970 to 2262")
    return found


def known_table(name: str) -> str:
    """A table's name.

    Raises:
        HTTPException: 404, there is none.
    """
    try:
        return table_of(name)
    except ValueError as error:
        raise HTTPException(404, str(error)) from error
