"""How far the exchange's clock stands from ours, by the sample that travelled fastest."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from collector.sources.errors import RestError

if TYPE_CHECKING:
    from collector.sources.transport import Transport

SAMPLES = 5
_MILLISECOND_NS = 1_000_000


class Offset(NamedTuple):
    """Exchange clock minus ours, uncertain by half the round trip; `measured_ns` is our time of the best sample."""

    measured_ns: int
    offset_ns: int
    round_trip_ns: int
    samples: int


class _Time(msgspec.Struct, rename="camel"):
    server_time: int


def offset_of(sent_ns: int, recv_ns: int, server_ms: int) -> Offset:
    """One sample. The server's stamp is cut to the millisecond, so it is taken as the middle of that millisecond."""
    server_ns = server_ms * _MILLISECOND_NS + _MILLISECOND_NS // 2
    return Offset(recv_ns, server_ns - (sent_ns + recv_ns) // 2, recv_ns - sent_ns, 1)


async def measure_offset(transport: Transport, weight: int, samples: int = SAMPLES) -> Offset:
    """Asks `samples` times for the server's time and keeps the answer with the smallest round trip.

    Raises:
        RestError: not one of the requests succeeded.
    """
    best: Offset | None = None
    failure: RestError | None = None
    taken = 0
    for _ in range(samples):
        try:
            response = await transport.get("time", {}, weight=weight)
            server_ms = msgspec.json.decode(response.body, type=_Time).server_time
        except RestError as error:
            failure = error
            continue
        except msgspec.MsgspecError as error:
            failure = RestError(f"time: not a server time: {error}", 200)
            continue
        taken += 1
        sample = offset_of(response.sent_ns, response.recv_ns, server_ms)
        if best is None or sample.round_trip_ns < best.round_trip_ns:
            best = sample
    if best is None:
        raise failure or RestError("time: no sample was asked for")
    return best._replace(samples=taken)
