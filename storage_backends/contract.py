"""What every backend must pass, as a pytest class.

Subclass it as `Test...` and give it a fixture `open_store`: a function without arguments that opens the same store each
time it is called, empty at the start of a test. Rows are compared with rows made here, never with rows that were
written and read back, so an error of a backend cannot hide itself.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage_backends.contract_rows import MIDNIGHT, arrow, key_of, preferred, row, rows, time_ns
from storage_backends.errors import PermanentBackendError
from storage_backends.interface import Backend, Market, TableStats, Write
from storage_backends.reading import newest_revisions, read
from storage_backends.schema import TABLES, bare

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


MARKET = Market("binanceusdm", "BTCUSDT")
OTHER = Market("binance", "ETHUSDT")
WRITER = "c0ffee00"
SECOND_WRITER = "decade01"

_hashes = itertools.count(1)
# Each example has a market of its own, so a store may serve many; a subclass runs the examples anew.
_SHARED = [HealthCheck.function_scoped_fixture, HealthCheck.differing_executors]


def put(
    backend: Backend,
    table: str,
    made: Sequence[dict[str, Any]],
    *,
    market: Market = MARKET,
    writer: str = WRITER,
    content_hash: str | None = None,
) -> None:
    """Writes made-up rows, under a content hash of their own unless one is given."""
    content_hash = content_hash or f"{next(_hashes):08x}" * 8
    backend.write(table, market, arrow(table, made), writer=writer, content_hash=content_hash)


def got(backend: Backend, table: str, market: Market = MARKET, **how: Any) -> list[dict[str, Any]]:
    """What a scan gives."""
    found: list[dict[str, Any]] = read(backend, table, market, **how).to_pylist()
    return found


def counted(backend: Backend, table: str, market: Market = MARKET, **how: Any) -> int:
    """What a scan of no columns counts."""
    return sum(batch.num_rows for batch in backend.scan(table, market, columns=(), **how))


def model_test(examples: int) -> Callable[..., None]:
    """A test of any mixture of reads and writes, in so many random examples; a slow backend may have one with fewer."""

    @settings(max_examples=examples, deadline=None, suppress_health_check=_SHARED)
    @given(
        table=st.sampled_from(["trades", "depth", "gaps", "book_ticker", "events"]),
        writes=st.lists(
            st.tuples(st.lists(st.integers(0, 24), min_size=1, max_size=8), st.integers(0, 2), st.booleans()),
            max_size=8,
        ),
        ranges=st.lists(st.tuples(st.none() | st.integers(-1, 25), st.none() | st.integers(-1, 25)), max_size=4),
    )
    def test_agrees_with_a_model(
        self: BackendContract,
        backend: Backend,
        open_store: Callable[[], Backend],
        table: str,
        writes: list[tuple[list[int], int, bool]],
        ranges: list[tuple[int | None, int | None]],
    ) -> None:
        """Random writes by several writers, each perhaps repeated, against a dict of rows by key."""
        market = Market("model", f"M{next(_hashes)}")
        definition = TABLES[table]
        model: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
        for ats, variant, repeated in writes:
            made = [_variant(table, at, variant) for at in ats]
            content_hash = f"{next(_hashes):08x}" * 8
            for store in [backend, open_store()] if repeated else [backend]:
                put(store, table, made, market=market, writer=f"w{variant}", content_hash=content_hash)
            for each in made:
                model.setdefault(key_of(definition, each), []).append(each)
        kept = [preferred(definition, model[key]) for key in sorted(model)]
        for start, end in [(None, None), *ranges]:
            lower = None if start is None else time_ns(start)
            upper = None if end is None else time_ns(end)
            expected = [
                made
                for made in kept
                if (lower is None or made[definition.time] * definition.ns_per_unit >= lower)
                and (upper is None or made[definition.time] * definition.ns_per_unit < upper)
            ]
            assert got(backend, table, market, start_ns=lower, end_ns=upper) == expected
            assert counted(backend, table, market, start_ns=lower, end_ns=upper) == len(expected)

    return test_agrees_with_a_model


class BackendContract:
    """The contract. `backend` is the store opened once; `open_store` opens it again."""

    @pytest.fixture
    def backend(self, open_store: Callable[[], Backend]) -> Backend:
        return open_store()

    # What is written is what is read.

    @pytest.mark.parametrize("table", TABLES)
    def test_gives_back_every_column_in_key_order(self, backend: Backend, table: str) -> None:
        made = rows(table, range(25))
        put(backend, table, [made[i] for i in (7, 24, 0, *range(1, 7), *range(8, 24))])
        assert got(backend, table) == made

    @pytest.mark.parametrize("table", TABLES)
    def test_batches_have_the_schema_of_the_table(self, backend: Backend, table: str) -> None:
        put(backend, table, rows(table, range(4)))
        for batch in backend.scan(table, MARKET):
            assert batch.num_rows > 0
            assert batch.schema.equals(bare(TABLES[table].schema), check_metadata=True)

    def test_numbers_and_texts_survive_exactly(self, backend: Backend) -> None:
        numbers = [0.1, 0.1 + 0.2, 5e-324, 1.7976931348623157e308, 1e-8, 123_456.789012345, 0.0]
        diff = row("diffs", 1, bid_price=numbers, bid_quantity=numbers[::-1], ask_price=[], ask_quantity=[])
        edges = row("diffs", 2, first_id=-(2**63), prev_id=2**63 - 1, transact_time=0)
        put(backend, "diffs", [diff, edges])
        assert got(backend, "diffs") == [diff, edges]
        texts = [row("events", 0, detail="", text=b""), row("events", 1, detail="☃\n\x00\"'", text=bytes(range(256)))]
        put(backend, "events", texts)
        assert got(backend, "events") == texts

    def test_the_sign_of_zero_survives(self, backend: Backend) -> None:
        zeros = [0.0, -0.0]
        made = row("diffs", 1, bid_price=zeros, bid_quantity=zeros, ask_price=[], ask_quantity=[])
        put(backend, "diffs", [made])
        (found,) = got(backend, "diffs")
        assert [str(one) for one in found["bid_price"]] == ["0.0", "-0.0"]

    def test_a_long_list_survives(self, backend: Backend) -> None:
        levels = [float(i) for i in range(5000)]
        made = row("snapshots", 1, bid_price=levels, bid_quantity=levels, ask_price=levels, ask_quantity=levels)
        put(backend, "snapshots", [made])
        assert got(backend, "snapshots") == [made]

    def test_another_instance_sees_the_rows(self, backend: Backend, open_store: Callable[[], Backend]) -> None:
        put(backend, "trades", rows("trades", range(3)))
        assert got(open_store(), "trades") == rows("trades", range(3))

    def test_markets_are_kept_apart(self, backend: Backend) -> None:
        put(backend, "trades", rows("trades", [1]))
        put(backend, "trades", rows("trades", [2]), market=OTHER)
        assert got(backend, "trades") == rows("trades", [1])
        assert got(backend, "trades", OTHER) == rows("trades", [2])

    # Repeats and overlaps.

    def test_a_repeated_write_changes_nothing(self, backend: Backend, open_store: Callable[[], Backend]) -> None:
        made = rows("trades", range(8, 13))
        put(backend, "trades", made, content_hash="ab" * 32)
        before = backend.stats("trades", MARKET)
        put(backend, "trades", made, content_hash="ab" * 32)
        put(open_store(), "trades", made, content_hash="ab" * 32)
        assert backend.stats("trades", MARKET) == before
        assert got(backend, "trades") == made

    @pytest.mark.parametrize("table", TABLES)
    def test_writes_that_overlap_show_each_key_once(self, backend: Backend, table: str) -> None:
        put(backend, table, rows(table, range(12)))
        put(backend, table, rows(table, range(5, 20)), writer=SECOND_WRITER)
        put(backend, table, rows(table, [11, 3, 19]))
        assert got(backend, table) == rows(table, range(20))
        assert counted(backend, table) == 20

    def test_keys_repeated_within_a_write_are_given_once(self, backend: Backend) -> None:
        put(backend, "trades", rows("trades", [4, 2, 4, 2, 2]))
        assert got(backend, "trades") == rows("trades", [2, 4])

    @pytest.mark.parametrize("swapped", [False, True])
    @pytest.mark.parametrize("table", [table.name for table in TABLES.values() if table.prefer])
    def test_of_two_rows_with_one_key_the_preferred_counts(self, backend: Backend, table: str, swapped: bool) -> None:
        column, direction = TABLES[table].prefer[0]
        is_flag = pa.types.is_boolean(TABLES[table].schema.field(column).type)
        values = (False, True) if is_flag else (time_ns(1.25), time_ns(1.5))
        wanted = values[direction == "descending"]
        writers = [WRITER, SECOND_WRITER]
        for value, writer in zip(values, reversed(writers) if swapped else writers, strict=True):
            put(backend, table, [row(table, 0), row(table, 1, **{column: value})], writer=writer)
        assert got(backend, table) == [row(table, 0), row(table, 1, **{column: wanted})]

    def test_which_row_counts_does_not_depend_on_the_order_of_writing(self, backend: Backend) -> None:
        first, second = row("clock", 1, offset_ns=1), row("clock", 1, offset_ns=2)
        for market, order in ((MARKET, (first, second)), (OTHER, (second, first))):
            for made in order:
                writer = WRITER if made is first else SECOND_WRITER
                put(backend, "clock", [made], market=market, writer=writer, content_hash="cd" * 32)
        assert got(backend, "clock") == got(backend, "clock", OTHER)
        assert len(got(backend, "clock")) == 1

    def test_every_revision_of_a_gap_is_kept(self, backend: Backend) -> None:
        opened = row("gaps", 1, gap_id="b", to_ns=None, healed=False)
        healed = row("gaps", 5, gap_id="b", revision=2, healed=True)
        other = row("gaps", 30, gap_id="a")
        put(backend, "gaps", [opened])
        put(backend, "gaps", [other])
        put(backend, "gaps", [healed])
        assert got(backend, "gaps") == [other, opened, healed]
        assert newest_revisions(read(backend, "gaps", MARKET)).to_pylist() == [other, healed]

    def test_rows_of_one_instant_are_told_apart(self, backend: Backend) -> None:
        made = [row("events", 1, sequence=i) for i in range(5)]
        put(backend, "events", made[3:])
        put(backend, "events", made[:3])
        assert got(backend, "events") == made

    # Order and ranges.

    def test_key_order_holds_across_writes_and_midnight(self, backend: Backend) -> None:
        for first in (15, 0, 10, 5):
            put(backend, "diffs", rows("diffs", range(first, first + 5)))
        assert got(backend, "diffs") == rows("diffs", range(20))

    def test_key_order_holds_where_times_run_backwards(self, backend: Backend) -> None:
        made = [row("diffs", at, event_time=time_ns(20 - at) // 1_000_000) for at in range(20)]
        put(backend, "diffs", made[:11])
        put(backend, "diffs", made[11:])
        assert got(backend, "diffs") == made

    @pytest.mark.parametrize("table", TABLES)
    def test_ranges_hold_their_start_and_not_their_end(self, backend: Backend, table: str) -> None:
        put(backend, table, rows(table, range(MIDNIGHT)))
        put(backend, table, rows(table, range(MIDNIGHT, 20)))
        for start, end in ((0, 20), (5, 15), (9, 10), (10, 11), (19, 40), (-5, 1), (7, 7), (20, 30), (12, 3)):
            inside = [at for at in range(20) if start <= at < end]
            assert got(backend, table, start_ns=time_ns(start), end_ns=time_ns(end)) == rows(table, inside)
            assert counted(backend, table, start_ns=time_ns(start), end_ns=time_ns(end)) == len(inside)
        assert got(backend, table, start_ns=time_ns(17)) == rows(table, [17, 18, 19])
        assert got(backend, table, end_ns=time_ns(2)) == rows(table, [0, 1])

    @pytest.mark.parametrize("table", TABLES)
    def test_ranges_finer_than_the_tables_unit(self, backend: Backend, table: str) -> None:
        put(backend, table, rows(table, range(5)))
        assert got(backend, table, start_ns=time_ns(1) + 1, end_ns=time_ns(3) + 1) == rows(table, [2, 3])

    @pytest.mark.parametrize("table", ["book_ticker", "snapshots", "trades"])
    def test_ranges_that_meet_give_a_key_once(self, backend: Backend, table: str) -> None:
        put(backend, table, [row(table, 9, recv_ns=time_ns(9.9))])
        put(backend, table, [row(table, 9, recv_ns=time_ns(10.1))], writer=SECOND_WRITER)
        before = got(backend, table, end_ns=time_ns(10))
        after = got(backend, table, start_ns=time_ns(10))
        assert (before, after) == ([row(table, 9, recv_ns=time_ns(9.9))], [])

    def test_key_order_holds_where_ids_begin_anew(self, backend: Backend) -> None:
        """Hours later an exchange counts from a small number again: those rows come first."""
        before = [row("diffs", at) for at in range(0, 9000, 900)]
        anew = [row("diffs", at, last_id=at) for at in range(9000, 18000, 900)]
        put(backend, "diffs", before)
        put(backend, "diffs", anew)
        assert got(backend, "diffs") == anew + before
        assert got(backend, "diffs", start_ns=time_ns(8100)) == [*anew, before[-1]]

    def test_columns_are_chosen_and_ordered(self, backend: Backend) -> None:
        put(backend, "depth", rows("depth", range(12)))
        put(backend, "depth", rows("depth", range(6, 18)))
        columns = ["bid_buckets", "valid", "epoch"]
        expected = [{name: made[name] for name in columns} for made in rows("depth", range(3, 18))]
        found = read(backend, "depth", MARKET, time_ns(3), None, columns)
        assert found.column_names == columns
        assert found.to_pylist() == expected
        assert got(backend, "depth", columns=["ref"], start_ns=time_ns(17)) == [{"ref": row("depth", 17)["ref"]}]

    # Several writes at once.

    def test_many_writes_are_as_one_after_the_other(self, backend: Backend) -> None:
        writes = [
            Write("trades", MARKET, arrow("trades", rows("trades", range(5))), WRITER, "ab" * 32),
            Write("depth", MARKET, arrow("depth", rows("depth", range(3))), WRITER, "cd" * 32),
            Write("trades", OTHER, arrow("trades", rows("trades", range(2))), WRITER, "ef" * 32),
        ]
        for _ in range(2):
            assert backend.write_many(writes) == [None, None, None]
        assert backend.write_many([]) == []
        assert got(backend, "trades") == rows("trades", range(5))
        assert got(backend, "depth") == rows("depth", range(3))
        assert got(backend, "trades", OTHER) == rows("trades", range(2))

    def test_of_many_writes_each_has_its_own_outcome(self, backend: Backend) -> None:
        made = arrow("trades", rows("trades", [1]))
        writes = [
            Write("trades", Market("binance", "../x"), made, WRITER, "ab" * 32),
            Write("depth", MARKET, made, WRITER, "ab" * 32),
            Write("trades", MARKET, made, WRITER, "ab" * 32),
            Write("prices", MARKET, made, WRITER, "ab" * 32),
        ]
        outcomes = backend.write_many(writes)
        assert [isinstance(outcome, PermanentBackendError) for outcome in outcomes] == [True, True, False, True]
        assert outcomes[2] is None
        assert got(backend, "trades") == rows("trades", [1])

    # What is there.

    def test_an_empty_store(self, backend: Backend) -> None:
        assert backend.markets() == []
        assert backend.markets("trades") == []
        assert backend.tables(MARKET) == []
        assert got(backend, "trades") == []
        assert backend.stats("trades", MARKET) == TableStats(0, 0, 0, None, None, None, None)

    def test_writing_no_rows_leaves_nothing(self, backend: Backend) -> None:
        put(backend, "trades", [])
        assert backend.markets() == []

    def test_markets_and_tables(self, backend: Backend) -> None:
        put(backend, "trades", rows("trades", [1]))
        put(backend, "depth", rows("depth", [1]))
        put(backend, "trades", rows("trades", [1]), market=OTHER)
        assert backend.markets() == [OTHER, MARKET]
        assert backend.markets("depth") == [MARKET]
        assert backend.markets("gaps") == []
        assert backend.tables(MARKET) == ["depth", "trades"]
        assert backend.tables(OTHER) == ["trades"]

    @pytest.mark.parametrize("table", TABLES)
    def test_stats(self, backend: Backend, table: str) -> None:
        put(backend, table, rows(table, range(8, 12)))
        put(backend, table, rows(table, range(3, 5)))
        stats = backend.stats(table, MARKET)
        lead = TABLES[table].key[0]
        assert (stats.rows, stats.first_ns, stats.last_ns) == (6, time_ns(3), time_ns(11))
        assert (stats.first_key, stats.last_key) == (row(table, 3)[lead], row(table, 11)[lead])
        assert stats.bytes > 0

    # What is refused.

    @pytest.mark.parametrize(
        "symbol", ["", "..", ".hidden", "a/b", "a\\b", "A..B", "BTC USDT", "Ⓢ", "a\0", "x" * 65, "-"]
    )
    def test_symbols_that_are_refused(self, backend: Backend, symbol: str) -> None:
        market = Market("binance", symbol)
        with pytest.raises(PermanentBackendError, match="symbol"):
            put(backend, "trades", rows("trades", [1]), market=market)
        with pytest.raises(PermanentBackendError, match="symbol"):
            backend.scan("trades", market)
        with pytest.raises(PermanentBackendError, match="symbol"):
            backend.stats("trades", market)
        with pytest.raises(PermanentBackendError, match="symbol"):
            backend.tables(market)
        assert backend.markets() == []

    @pytest.mark.parametrize("symbol", ["1INCHUSDT", "BTCUSDT_240927", "BTC-USDT-SWAP", "tBTCF0", "A.B"])
    def test_symbols_that_are_taken(self, backend: Backend, symbol: str) -> None:
        put(backend, "trades", rows("trades", [1]), market=Market("okx-swap", symbol))
        assert backend.markets() == [("okx-swap", symbol)]
        assert got(backend, "trades", Market("okx-swap", symbol)) == rows("trades", [1])

    def test_other_names_that_are_refused(self, backend: Backend) -> None:
        with pytest.raises(PermanentBackendError, match="exchange"):
            put(backend, "trades", rows("trades", [1]), market=Market("../x", "BTCUSDT"))
        with pytest.raises(PermanentBackendError, match="writer"):
            put(backend, "trades", rows("trades", [1]), writer="a/b")
        with pytest.raises(PermanentBackendError, match="content hash"):
            put(backend, "trades", rows("trades", [1]), content_hash="xyz")
        for unknown in ("prices", "../trades", "Trades", ""):
            with pytest.raises(PermanentBackendError, match="table"):
                backend.write(unknown, MARKET, arrow("trades", []), writer=WRITER, content_hash="ab" * 32)
            with pytest.raises(PermanentBackendError, match="table"):
                backend.scan(unknown, MARKET)
            with pytest.raises(PermanentBackendError, match="table"):
                backend.stats(unknown, MARKET)
            with pytest.raises(PermanentBackendError, match="table"):
                backend.markets(unknown)
        assert backend.markets() == []

    def test_an_unknown_column_is_named(self, backend: Backend) -> None:
        with pytest.raises(PermanentBackendError, match="no column volume"):
            backend.scan("trades", MARKET, columns=["price", "volume"])

    @pytest.mark.parametrize(
        ("problem", "spoil"),
        [
            ("price", lambda made: made.drop_columns(["price"])),
            ("no column extra", lambda made: made.append_column("extra", made.column("price"))),
            ("quantity", lambda made: made.set_column(4, "quantity", made.column("quantity").cast("float32"))),
        ],
    )
    def test_rows_of_another_schema_are_refused(
        self, backend: Backend, problem: str, spoil: Callable[[pa.Table], pa.Table]
    ) -> None:
        with pytest.raises(PermanentBackendError, match=problem):
            backend.write(
                "trades", MARKET, spoil(arrow("trades", rows("trades", [1]))), writer=WRITER, content_hash="ab" * 32
            )
        assert backend.markets() == []

    def test_nulls_are_refused_where_there_can_be_none(self, backend: Backend) -> None:
        with pytest.raises(PermanentBackendError, match="price is null"):
            put(backend, "trades", [row("trades", 1, price=None)])
        assert backend.markets() == []

    # Its life.

    def test_checking_leaves_nothing(self, backend: Backend) -> None:
        backend.check()
        assert backend.markets() == []
        put(backend, "trades", rows("trades", range(3)))
        before = backend.stats("trades", MARKET)
        backend.check()
        assert backend.stats("trades", MARKET) == before

    def test_closing_twice(self, backend: Backend, open_store: Callable[[], Backend]) -> None:
        put(backend, "trades", rows("trades", range(3)))
        backend.close()
        backend.close()
        assert got(open_store(), "trades") == rows("trades", range(3))

    def test_a_scan_may_be_left_early(self, backend: Backend) -> None:
        put(backend, "trades", rows("trades", range(20)))
        next(backend.scan("trades", MARKET))
        assert got(backend, "trades") == rows("trades", range(20))

    # Any mixture of all that.

    test_agrees_with_a_model = model_test(60)


def _variant(table: str, at: int, variant: int) -> dict[str, Any]:
    """Row `at` as the collector number `variant` saw it: another receive time where that decides between rows."""
    if any(column == "recv_ns" for column, _ in TABLES[table].prefer):
        return row(table, at, recv_ns=time_ns(at) + variant * 700_000_000)
    if table == "gaps":
        return row(table, at, revision=variant + 1)
    return row(table, at)
