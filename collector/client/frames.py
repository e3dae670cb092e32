"""Rows as the caller likes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    import pyarrow as pa

Output: TypeAlias = Literal["pandas", "polars", "arrow"]


def frame(rows: pa.Table, output: Output) -> Any:
    """`rows` as pandas.DataFrame, polars.DataFrame or pyarrow.Table.

    In pandas a null number is NaN, and a list an array of numpy, made when it is looked at; see `pandas_lists`.

    Raises:
        ValueError: no such output.
    """
    if output == "arrow":
        return rows
    if output == "pandas":
        from collector.client.pandas_frame import to_pandas

        return to_pandas(rows)
    if output == "polars":
        import polars

        return polars.from_arrow(rows)
    raise ValueError(f"output {output!r}: choose pandas, polars or arrow")
