"""A backend for dry runs: takes every row and keeps none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storage_backends.interface import Backend, Market, TableStats

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa


class NoneBackend(Backend):
    """Checks names, then forgets. What the interface says about durability does not hold here."""

    def check(self) -> None:
        """There is always room."""

    def close(self) -> None:
        """Nothing is held."""

    def _write(self, table: str, market: Market, rows: pa.Table, writer: str, content_hash: str) -> None:
        pass

    def _scan(
        self,
        table: str,
        market: Market,
        start_ns: int | None,
        end_ns: int | None,
        columns: Sequence[str] | None,
    ) -> Iterator[pa.RecordBatch]:
        return iter(())

    def _markets(self, table: str | None) -> list[Market]:
        return []

    def _tables(self, market: Market) -> list[str]:
        return []

    def _stats(self, table: str, market: Market) -> TableStats:
        return TableStats(0, 0, 0, None, None, None, None)
