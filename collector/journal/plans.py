"""What waits in the journal, and the writes that are decided on."""

from __future__ import annotations

import hashlib
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collector.core.batch import Batch
    from storage_backends.interface import Market


class Group(NamedTuple):
    """What waits, unplanned, for one market in one table. `oldest_ns` may lie early after a plan took only a part."""

    table: str
    market: Market
    rows: int
    bytes: int
    oldest_ns: int
    first_id: int
    last_id: int


@dataclass(frozen=True, slots=True)
class Plan:
    """A write that was decided on. `content_hash` is the sha256 (hex) of the sha256 of each body, in order of `ids`."""

    id: int
    table: str
    market: Market
    rows: int
    bytes: int
    oldest_ns: int
    writer: str
    content_hash: str
    ids: array[int]


class Entry(NamedTuple):
    """A batch as the journal has it; `codec.decode` gives it back."""

    table: str
    market: Market
    rows: int
    body: bytes


class Damage(NamedTuple):
    """Batches of a plan, one after the other, that cannot be read; `before` and `after` are what stands beside them
    there, None at its ends. What they held was received before `to_ns`, and hardly before `from_ns`."""

    table: str
    before: Batch | None
    after: Batch | None
    from_ns: int
    to_ns: int


class Gathering:
    """A group's oldest batches on their way into one plan, offered in order of their ids."""

    def __init__(self, group: Group, *, max_rows: int, max_bytes: int) -> None:
        self.group = group
        self.ids = array("q")
        self.rows = self.bytes = 0
        self.full = False
        self._max_rows, self._max_bytes = max_rows, max_bytes
        self._oldest_ns = self._newest_ns = group.oldest_ns
        self._hash = hashlib.sha256()

    def offer(self, id_: int, rows: int, size: int, created_ns: int, digest: bytes) -> None:
        """Takes the batch unless it came after the group was looked at, or goes over a limit."""
        if self.full or not self.group.first_id <= id_ <= self.group.last_id:
            return
        if self.ids and (self.rows + rows > self._max_rows or self.bytes + size > self._max_bytes):
            self.full = True
            return
        if not self.ids:
            self._oldest_ns = created_ns
        self._newest_ns = created_ns
        self.ids.append(id_)
        self.rows += rows
        self.bytes += size
        self._hash.update(digest)

    def plan(self, id_: int, writer: str) -> Plan:
        """The plan for what was taken."""
        return Plan(
            id=id_,
            table=self.group.table,
            market=self.group.market,
            rows=self.rows,
            bytes=self.bytes,
            oldest_ns=self._oldest_ns,
            writer=writer,
            content_hash=self._hash.hexdigest(),
            ids=self.ids,
        )

    def rest(self, now: Group, before_ns: int) -> Group | None:
        """What is left of the group, which meanwhile is `now`, after everything before `before_ns` was offered."""
        if now.rows == self.rows:
            return None
        reached_end = bool(self.ids) and self.ids[-1] == self.group.last_id
        return now._replace(
            rows=now.rows - self.rows,
            bytes=now.bytes - self.bytes,
            oldest_ns=self._newest_ns if self.full or reached_end else before_ns,
            first_id=self.ids[-1] + 1 if self.ids else now.first_id,
        )
