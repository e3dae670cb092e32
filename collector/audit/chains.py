"""Whether ids follow on each other, and every break lies in a stored gap."""

from __future__ import annotations

from collector.audit.gaps import id_cover, recounts
from collector.audit.report import EXAMPLES, Chain
from collector.core.gaps import Gap
from collector.markets import FUTURES
from storage_backends.interface import Backend, Market


def note_break(chain: Chain, missing: tuple[int, int], explained: bool) -> None:
    """Counts one in `chain`, and keeps it as an example while there are few."""
    if explained:
        chain.explained += 1
        return
    chain.unexplained += 1
    if len(chain.breaks) < EXAMPLES:
        chain.breaks.append(missing)


def between_counts(anew: list[int], lower_ns: int, higher_ns: int) -> bool:
    """Whether lower ids came after higher ones because the exchange began to count anew in between, as a gap says."""
    return any(higher_ns < restarted_ns <= lower_ns for restarted_ns in anew)


def walk_ids(
    backend: Backend,
    market: Market,
    gaps: list[Gap],
    table: str,
    column: str,
    start_ns: int | None,
    end_ns: int | None,
) -> Chain:
    """The ids in `column`; breaks are looked for only where ids of trades follow on each other."""
    chain, cover, anew = Chain(), id_cover(gaps, table), recounts(gaps, table)
    last_recv_ns = 0
    counted = market.exchange in FUTURES  # elsewhere ids of trades have holes that mean nothing
    for rows in backend.scan(table, market, start_ns, end_ns, (column, "recv_ns")):
        ids, recv_ns = rows.column(column).to_numpy(), rows.column("recv_ns").to_numpy()
        if chain.last_id is None:
            chain.first_id = int(ids[0])
            chain.last_id = int(ids[0]) - 1
        steps = ids.copy()
        steps[1:] -= ids[:-1]
        steps[0] -= chain.last_id
        for at in (steps != 1).nonzero()[0].tolist() if counted else ():
            missing = (int(ids[at] - steps[at]) + 1, int(ids[at]) - 1)
            before_ns = int(recv_ns[at - 1]) if at else last_recv_ns
            note_break(chain, missing, cover.holds(*missing) or between_counts(anew, before_ns, int(recv_ns[at])))
        chain.rows += len(ids)
        chain.last_id, last_recv_ns = int(ids[-1]), int(recv_ns[-1])
    return chain
