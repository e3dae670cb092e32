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
        table: str,  # noqa: ARG002
        market: Market,  # noqa: ARG002
        start_ns: int | None,  # noqa: ARG002
        end_ns: int | None,  # noqa: ARG002
        columns: Sequence[str] | None,  # noqa: ARG002
    ) -> Iterator[pa.RecordBatch]:
        return iter(())

    def _markets(self, table: str | None) -> list[Market]:  # noqa: ARG002
        return []

    def _tables(self, market: Market) -> list[str]:  # noqa: ARG002
        return []

    def _stats(self, table: str, market: Market) -> TableStats:  # noqa: ARG002
        return TableStats(0, 0, 0, None, None, None, None)
