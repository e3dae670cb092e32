"""What the server may answer, and a connection that breaks while a read goes on."""

from __future__ import annotations

import grpc
import pytest

from storage_backends.bigtable.backend import BigtableBackend
from storage_backends.bigtable.keys import DATA_TABLE, KeyRange
from storage_backends.contract import got, put
from storage_backends.contract.rows import rows
from storage_backends.errors import PermanentBackendError, TransientBackendError
from tests.bigtable_proxy import Fault, Proxy
from tests.journal.rows import BTC
from tests.storage_backends.bigtable.delivery import always


def test_a_read_goes_on_where_the_connection_broke(proxy: Proxy, through: BigtableBackend) -> None:
    put(through, "trades", rows("trades", range(200)))
    breaks = iter([0, 70, 1, 0, 90])

    def broken(method: str) -> Fault | None:
        messages = next(breaks, None) if method == "ReadRows" else None
        return None if messages is None else Fault(grpc.StatusCode.UNAVAILABLE, messages=messages)

    proxy.trouble = broken
    span = KeyRange(b"binanceusdm#BTCUSDT#trades#", b"binanceusdm#BTCUSDT#trades$")
    keys = [found.key for found in through._client.read(DATA_TABLE, span)]
    assert next(breaks, None) is None
    assert len(keys) == len(set(keys)) == 200
    assert keys == sorted(keys)
    breaks = iter([50, 50])
    assert [found.key for found in through._client.read(DATA_TABLE, span, limit=120)] == keys[:120]
    breaks = iter([3, 3])
    assert [found.key for found in through._client.read(DATA_TABLE, keys[10:20])] == keys[10:20]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, TransientBackendError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, TransientBackendError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, TransientBackendError),
        (grpc.StatusCode.ABORTED, TransientBackendError),
        (grpc.StatusCode.INTERNAL, TransientBackendError),
        (grpc.StatusCode.UNKNOWN, TransientBackendError),
        (grpc.StatusCode.CANCELLED, TransientBackendError),
        (grpc.StatusCode.PERMISSION_DENIED, PermanentBackendError),
        (grpc.StatusCode.UNAUTHENTICATED, PermanentBackendError),
        (grpc.StatusCode.NOT_FOUND, PermanentBackendError),
        (grpc.StatusCode.INVALID_ARGUMENT, PermanentBackendError),
    ],
)
def test_every_answer_is_repeat_or_not_on_one_line(
    proxy: Proxy, through: BigtableBackend, code: grpc.StatusCode, kind: type[Exception]
) -> None:
    proxy.trouble = always(Fault(code))
    for call in (
        lambda: put(through, "trades", rows("trades", [1])),
        lambda: got(through, "trades"),
        through.check,
        through.markets,
        lambda: through.stats("trades", BTC),
    ):
        with pytest.raises(kind) as caught:
            call()
        assert "\n" not in str(caught.value)
        assert "BIGTABLE_" in str(caught.value) or "fewer requests" in str(caught.value)
