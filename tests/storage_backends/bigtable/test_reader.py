"""Scans with little memory, the newest rows, and rows from the chunks that a server cuts them into."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from google.cloud.bigtable_v2.types import ReadRowsResponse
from hypothesis import given
from hypothesis import strategies as st

from storage_backends.bigtable import reader
from storage_backends.bigtable.backend import BigtableBackend
from storage_backends.bigtable.client import Row, _requests, _rows
from storage_backends.bigtable.index import SLICE_S, Slice
from storage_backends.bigtable.options import BigtableOptions
from storage_backends.contract import MARKET, SECOND_WRITER, got, put
from storage_backends.contract.rows import row, rows, time_ns
from storage_backends.reading import ends


@pytest.fixture
def backend(options: BigtableOptions) -> Iterator[BigtableBackend]:
    opened = BigtableBackend(options)
    yield opened
    opened.close()


def test_a_scan_holds_some_groups_of_slices_and_no_more(
    backend: BigtableBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    sparse = [at * SLICE_S for at in range(100)]
    dense = range(100 * SLICE_S, 104 * SLICE_S)
    later = [at * SLICE_S for at in range(104, 200)]
    made = rows("trades", [*sparse, *dense, *later])
    put(backend, "trades", made)
    monkeypatch.setattr(reader, "_GROUP_ROWS", 80)
    loaded: list[tuple[int, int]] = []
    read = 0
    real_load, real_read = reader._load, backend._client.read

    def load(*arguments: Any) -> Any:
        found, left_over = real_load(*arguments)
        loaded.append((len(found), sum(map(len, found.values()))))
        return found, left_over

    def counted(*arguments: Any, **named: Any) -> Iterator[Row]:
        nonlocal read
        for one in real_read(*arguments, **named):
            read += 1
            yield one

    monkeypatch.setattr(reader, "_load", load)
    monkeypatch.setattr(backend._client, "read", counted)
    assert got(backend, "trades") == made
    assert sum(count for _, count in loaded) == len(made)
    assert all(count <= 80 or slices == 1 for slices, count in loaded), loaded
    assert max(slices for slices, _ in loaded) >= 16, "where rows are few, one read serves many slices"
    assert read < 3 * len(made), "what is given up and read again stays in bounds"


def test_nothing_is_read_before_it_is_asked_for(backend: BigtableBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    put(backend, "trades", rows("trades", range(3)))
    real = backend._client.read
    calls = []

    def counted(*arguments: Any, **named: Any) -> Any:
        calls.append(arguments)
        return real(*arguments, **named)

    monkeypatch.setattr(backend._client, "read", counted)
    batches = backend.scan("trades", MARKET)
    assert calls == []
    assert next(batches).num_rows == 3


def test_the_newest_rows_are_one_read(backend: BigtableBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    put(backend, "trades", rows("trades", range(3000)))
    put(backend, "trades", [row("trades", 2999, recv_ns=time_ns(2998))], writer=SECOND_WRITER)
    newest = backend.latest("trades", MARKET, 10)
    assert newest.to_pylist() == [*rows("trades", range(2990, 2999)), row("trades", 2999, recv_ns=time_ns(2998))]
    assert backend.latest("trades", MARKET, 2, ["price"]).column_names == ["price"]
    assert backend.latest("depth", MARKET, 5).num_rows == 0
    monkeypatch.setattr(backend, "stats", None)
    assert ends(backend, "trades", MARKET) == (row("trades", 2999)["agg_trade_id"], time_ns(2999))
    assert ends(backend, "depth", MARKET) == (None, None)


def test_the_order_of_slices_is_that_of_the_merge() -> None:
    asked = [Slice(0, 900), Slice(300, 1000), Slice(600, 5), Slice(900, 10)]
    groups: list[list[Slice]] = []

    def load(group: list[Slice]) -> Any:
        groups.append(group)
        return {one: pa.table({"a": [one.start_s]}) for one in group}, []

    with (ahead := reader._Ahead(load, asked)):
        given = [next(iter(ahead.chunks(one))).rows["a"][0].as_py() for one in (asked[2], asked[3], asked[0], asked[1])]
    assert given == [600, 900, 0, 300]
    for group in groups:
        assert group == asked[asked.index(group[0]) : asked.index(group[0]) + len(group)], "what one range covers"


# Chunks


@st.composite
def _cut(draw: st.DrawFn) -> tuple[list[Row], list[list[Any]]]:
    """Rows, and chunks that carry them: cells in pieces, rows that are taken back and sent again."""
    made: list[Row] = []
    chunks: list[Any] = []
    for number in range(draw(st.integers(0, 4))):
        names = draw(st.lists(st.sampled_from([b"a", b"b", b"c"]), min_size=1, max_size=3, unique=True))
        cells = [(name, draw(st.integers(0, 9)), draw(st.binary(min_size=1, max_size=6))) for name in sorted(names)]
        key = b"row%d" % number
        made.append(Row(key, cells))
        whole = list(_chunks_of(draw, key, cells))
        if draw(st.booleans()) and len(whole) > 1:
            chunks += whole[: draw(st.integers(1, len(whole) - 1))]
            chunks.append(ReadRowsResponse.CellChunk.pb()(reset_row=True))
        chunks += whole
    cuts = sorted(draw(st.lists(st.integers(0, len(chunks)), max_size=4)))
    edges = [0, *cuts, len(chunks)]
    return made, [chunks[start:end] for start, end in itertools.pairwise(edges)]


def _chunks_of(draw: st.DrawFn, key: bytes, cells: list[tuple[bytes, int, bytes]]) -> Iterator[Any]:
    for place, (name, stamp, value) in enumerate(cells):
        cuts = sorted(set(draw(st.lists(st.integers(1, max(1, len(value) - 1)), max_size=2)))) if len(value) > 1 else []
        edges = [0, *cuts, len(value)]
        for at, (start, end) in enumerate(itertools.pairwise(edges)):
            chunk = ReadRowsResponse.CellChunk.pb()(value=value[start:end])
            if at == 0:
                chunk.timestamp_micros = stamp * 1000
                chunk.qualifier.value = name
                if place == 0:
                    chunk.row_key = key
                    chunk.family_name.value = "data"
            if end < len(value):
                chunk.value_size = len(value)
            elif place == len(cells) - 1:
                chunk.commit_row = True
            yield chunk


@given(_cut())
def test_rows_come_whole_however_they_are_cut(case: tuple[list[Row], list[list[Any]]]) -> None:
    made, responses = case
    assert list(_rows(iter(responses))) == made


@given(st.lists(st.integers(1, 5_000_000), max_size=30))
def test_requests_are_bounded_and_leave_nothing_out(sizes: list[int]) -> None:
    entries: Any = [SimpleNamespace(size=size) for size in sizes]
    parts = list(_requests(entries))
    assert [index for part in parts for index in part] == list(range(len(sizes)))
    assert all(len(part) == 1 or sum(sizes[index] for index in part) <= 4 << 20 for part in parts)
