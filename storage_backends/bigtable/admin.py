"""Making the tables, and looking whether they are as they should be: the only part that needs an admin's rights.

Kept is the newest version of every cell, and nothing expires unless that is asked for: rows that are filled in later
bear the time that they are of, and a rule by age would delete them in silence.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from google.api_core import exceptions as api

from storage_backends.bigtable.client import open_channel
from storage_backends.bigtable.failures import translating
from storage_backends.bigtable.keys import DATA_FAMILY, DATA_TABLE, INDEX_FAMILY, LEGACY_FAMILY, LEGACY_TABLE

if TYPE_CHECKING:
    from storage_backends.bigtable.options import BigtableOptions

FAMILIES: Final = {DATA_TABLE: (DATA_FAMILY, INDEX_FAMILY), LEGACY_TABLE: (LEGACY_FAMILY,)}
"""The column families of each table. `max_age` never counts for the index, which has no times."""

_TIMEOUT_S: Final = 60.0


class Finding(NamedTuple):
    """What was looked at or done; `mend` is empty where nothing is wrong."""

    table: str
    found: str
    mend: str = ""


def create(options: BigtableOptions, max_age: dt.timedelta | None = None) -> list[Finding]:
    """Makes what is missing, and changes nothing that is there.

    Raises:
        BackendError: translated.
    """
    from google.cloud.bigtable_admin_v2.types import ColumnFamily, ModifyColumnFamiliesRequest
    from google.cloud.bigtable_admin_v2.types import Table as TableType

    client = _open(options)
    done = []
    for table_id, names in FAMILIES.items():
        wanted = {name: ColumnFamily(gc_rule=_rule(name, max_age)) for name in names}
        with translating(options, table_id):
            there = _families(client, options, table_id)
            if there is None:
                table = TableType(column_families=wanted)
                client.create_table(
                    parent=options.instance, table_id=table_id, table=table, timeout=_TIMEOUT_S, retry=None
                )
                done.append(Finding(table_id, f"created, with {', '.join(names)}"))
                continue
            missing = [name for name in names if name not in there]
            change = ModifyColumnFamiliesRequest.Modification
            if missing:
                client.modify_column_families(
                    name=f"{options.instance}/tables/{table_id}",
                    modifications=[change(id=name, create=wanted[name]) for name in missing],
                    timeout=_TIMEOUT_S,
                    retry=None,
                )
            done.append(Finding(table_id, f"families added: {', '.join(missing)}" if missing else "was there"))
    return done


def check(options: BigtableOptions, max_age: dt.timedelta | None = None) -> list[Finding]:
    """Compares tables, families and rules of expiry with what `create` would make.

    Raises:
        BackendError: translated; a missing table is a finding, no error.
    """
    client = _open(options)
    found = []
    for table_id, names in FAMILIES.items():
        with translating(options, table_id):
            there = _families(client, options, table_id)
        if there is None:
            found.append(Finding(table_id, "is missing", "make it with `collector tables create`"))
            continue
        problems = [_problem(table_id, name, there.get(name), max_age) for name in names]
        found += [problem for problem in problems if problem is not None] or [Finding(table_id, "is as it should be")]
    return found


def _problem(table_id: str, name: str, family: Any, max_age: dt.timedelta | None) -> Finding | None:
    if family is None:
        return Finding(table_id, f"family {name} is missing", "make it with `collector tables create`")
    age = None if name == INDEX_FAMILY else max_age
    rule = _shown(family.gc_rule)
    wanted = _shown(_rule(name, max_age))
    if rule == wanted:
        return None
    policy = "maxversions=1" if age is None else f"'maxversions=1 || maxage={round(age.total_seconds())}s'"
    why = "rows vanish in silence" if "older" in rule and age is None else "old versions pile up, or rows stay too long"
    return Finding(
        table_id,
        f"family {name} deletes {rule}, where {wanted} is wanted: {why}",
        f"cbt setgcpolicy {table_id} {name} {policy}",
    )


def _shown(rule: Any) -> str:
    """A rule in words, the same for equal rules."""
    kind = type(rule).pb(rule).WhichOneof("rule")
    if kind == "max_num_versions":
        return f"all but {rule.max_num_versions} version{'s' if rule.max_num_versions > 1 else ''}"
    if kind == "max_age":
        return f"what is older than {round(rule.max_age.total_seconds()):,} s"
    if kind in ("union", "intersection"):
        parts = sorted(_shown(part) for part in getattr(rule, kind).rules)
        return (" or " if kind == "union" else " and also ").join(parts)
    return "nothing"


def _rule(family: str, max_age: dt.timedelta | None) -> Any:
    from google.cloud.bigtable_admin_v2.types import GcRule

    newest = GcRule(max_num_versions=1)
    if max_age is None or family == INDEX_FAMILY:
        return newest
    return GcRule(union=GcRule.Union(rules=[newest, GcRule(max_age=max_age)]))


def _open(options: BigtableOptions) -> Any:
    from google.cloud.bigtable_admin_v2.services.bigtable_table_admin import BaseBigtableTableAdminClient as AdminClient
    from google.cloud.bigtable_admin_v2.services.bigtable_table_admin.transports import (
        BigtableTableAdminGrpcTransport as Transport,
    )

    with translating(options, DATA_TABLE):
        channel = open_channel(options, Transport, AdminClient.DEFAULT_ENDPOINT)
        return AdminClient(transport=Transport(channel=channel))


def _families(client: Any, options: BigtableOptions, table_id: str) -> Any:
    """Families by name; None when there is no such table."""
    try:
        name = f"{options.instance}/tables/{table_id}"
        return client.get_table(
            request={"name": name, "view": "SCHEMA_VIEW"}, timeout=_TIMEOUT_S, retry=None
        ).column_families
    except api.NotFound as error:
        if "table" not in str(error).lower():
            raise
        return None
