"""Answers as the asker wants them: JSON, or an Arrow stream where `Accept` names one."""

from __future__ import annotations

import io
import math
from typing import Any, Final

import msgspec
import pyarrow as pa
from fastapi import Request, Response

ARROW: Final = "application/vnd.apache.arrow.stream"


class Json(Response):
    """JSON by msgspec; numbers that JSON does not know are null."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return msgspec.json.encode(content)


def rows_answer(request: Request, rows: pa.Table, head: dict[str, Any]) -> Response:
    """`rows` under `data` behind the entries of `head`; as Arrow, `head` is the schema's metadata."""
    if ARROW in request.headers.get("accept", "").lower():
        sink = io.BytesIO()
        said = {name: msgspec.json.encode(value) for name, value in head.items()}
        with pa.ipc.new_stream(sink, rows.schema.with_metadata(said)) as stream:
            stream.write_table(rows)
        return Response(sink.getvalue(), media_type=ARROW)
    return Json({**head, "count": rows.num_rows, "data": [plain(row) for row in rows.to_pylist()]})


def plain(value: Any) -> Any:
    """What JSON can hold of a value of Arrow."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    return value
