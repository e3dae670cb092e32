"""Making and checking tables, and what is said when they are not as they should be."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from typing import Any

import pytest
from google.cloud.bigtable_admin_v2.types import ColumnFamily, GcRule, Table

from collector.cli import main
from storage_backends.bigtable import admin
from storage_backends.bigtable.backend import BigtableBackend
from storage_backends.bigtable.keys import DATA_TABLE, LEGACY_TABLE, KeyRange
from storage_backends.bigtable.options import BigtableOptions
from storage_backends.contract import got, put
from storage_backends.contract.rows import rows
from storage_backends.errors import PermanentBackendError, TransientBackendError
from storage_backends.open import open_store
from storage_backends.settings import StoreSettings
from tests.bigtable_emulator import flags_of, new_options, settings_of

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def bare_options(emulator_host: str) -> BigtableOptions:
    """An instance without tables."""
    return new_options(emulator_host)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(list(arguments))
        said = capsys.readouterr()
        assert isinstance(stop.value.code, int)
        return stop.value.code, said.out, said.err

    return run


def make(options: BigtableOptions, table_id: str, **families: GcRule | None) -> None:
    """A table with these families."""
    client = admin._open(options)
    made = {name: ColumnFamily(gc_rule=rule) if rule else ColumnFamily() for name, rule in families.items()}
    client.create_table(parent=options.instance, table_id=table_id, table=Table(column_families=made))


def test_create_makes_what_is_missing_and_changes_nothing_that_is_there(bare_options: BigtableOptions) -> None:
    make(bare_options, DATA_TABLE, data=GcRule(max_num_versions=7))
    assert admin.create(bare_options) == [
        (DATA_TABLE, "families added: index", ""),
        (LEGACY_TABLE, "created, with data", ""),
    ]
    assert admin.create(bare_options) == [(DATA_TABLE, "was there", ""), (LEGACY_TABLE, "was there", "")]
    (wrong, sound) = admin.check(bare_options)
    assert "all but 7 versions" in wrong.found
    assert wrong.mend == "cbt setgcpolicy market_data data maxversions=1"
    assert sound == (LEGACY_TABLE, "is as it should be", "")


def test_rows_expire_only_when_that_is_asked_for(bare_options: BigtableOptions) -> None:
    quarter = dt.timedelta(days=90)
    admin.create(bare_options, quarter)
    assert all(one.mend == "" for one in admin.check(bare_options, quarter))
    found = admin.check(bare_options)
    assert [one.table for one in found] == [DATA_TABLE, LEGACY_TABLE]
    for one in found:
        assert "older than 7,776,000 s" in one.found
        assert "vanish in silence" in one.found
    client = admin._open(bare_options)
    families = client.get_table(name=f"{bare_options.instance}/tables/{DATA_TABLE}").column_families
    assert families["index"].gc_rule.max_num_versions == 1, "the index has no age"
    with_age = dt.timedelta(days=30)
    assert "maxversions=1 || maxage=2592000s" in admin.check(bare_options, with_age)[0].mend


def test_the_command_makes_and_checks(call: Command, bare_options: BigtableOptions) -> None:
    flags = flags_of(bare_options)
    code, out, _ = call("tables", "check", *flags)
    assert code == 1
    assert out.count("is missing") == 2
    assert "collector tables create" in out
    assert call("tables", "create", "--max-age", "90d", *flags)[0] == 0
    assert call("tables", "check", "--max-age", "90d", *flags)[0] == 0
    code, out, _ = call("tables", "check", "--json", *flags)
    assert code == 1
    assert [one["table"] for one in json.loads(out)] == [DATA_TABLE, LEGACY_TABLE]


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["tables", "create"], ["--backend", "bigtable"]),
        (["tables", "create", "--backend", "bigtable"], ["--bigtable-project-id", "BIGTABLE_PROJECT_ID"]),
        (
            ["stats", "--backend", "bigtable", "--bigtable-project-id", "p"],
            ["--bigtable-instance-id", "BIGTABLE_INSTANCE_ID"],
        ),
        (["tables", "create", "--backend", "bigtable", "--max-age", "soon"], ["--max-age", "soon", "90d"]),
        (["tables", "create", "--backend", "bigtable", "--max-age", "5h"], ["--max-age", "less than a day"]),
        (
            ["stats", "--backend", "bigtable", "--bigtable-project-id", "projects/p", "--bigtable-instance-id", "i"],
            ["BIGTABLE_PROJECT_ID", "projects/p"],
        ),
        (
            [
                *["stats", "--backend", "bigtable", "--bigtable-project-id", "p", "--bigtable-instance-id", "i"],
                "--bigtable-emulator-host",
                "localhost",
            ],
            ["BIGTABLE_EMULATOR_HOST", "localhost", "HOST:PORT"],
        ),
        (["compact", "--backend", "bigtable"], ["--backend", "bigtable"]),
    ],
)
def test_what_cannot_work_is_one_line(
    call: Command, monkeypatch: pytest.MonkeyPatch, arguments: list[str], names: list[str]
) -> None:
    for name in ("BIGTABLE_PROJECT_ID", "BIGTABLE_INSTANCE_ID", "BIGTABLE_EMULATOR_HOST", "DB_BACKEND"):
        monkeypatch.delenv(name, raising=False)
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    for name in names:
        assert name in err


def test_the_environment_names_the_instance(
    call: Command, monkeypatch: pytest.MonkeyPatch, options: BigtableOptions
) -> None:
    monkeypatch.setenv("DB_BACKEND", "bigtable")
    monkeypatch.setenv("BIGTABLE_PROJECT_ID", options.project_id)
    monkeypatch.setenv("BIGTABLE_INSTANCE_ID", options.instance_id)
    monkeypatch.setenv("BIGTABLE_EMULATOR_HOST", str(options.emulator_host))
    backend = BigtableBackend(options)
    put(backend, "trades", rows("trades", range(7)))
    backend.close()
    code, out, _ = call("stats", "--json")
    assert code == 0
    assert [(one["table"], one["rows"]) for one in json.loads(out)] == [("trades", 7)]


# What is wrong is said in one line, by the backend and by every command.


def _no_table(options: BigtableOptions) -> BigtableOptions:
    return new_options(str(options.emulator_host))


def _no_project(options: BigtableOptions) -> BigtableOptions:
    return BigtableOptions("nobody", options.instance_id, options.emulator_host)


def _no_family(options: BigtableOptions) -> BigtableOptions:
    made = new_options(str(options.emulator_host))
    make(made, DATA_TABLE, other=None)
    make(made, LEGACY_TABLE, other=None)
    return made


def _nobody_listens(options: BigtableOptions) -> BigtableOptions:
    return BigtableOptions(options.project_id, options.instance_id, "127.0.0.1:1")


def _no_credentials(options: BigtableOptions) -> BigtableOptions:
    return BigtableOptions(options.project_id, options.instance_id)


_WRONG: list[tuple[Callable[[BigtableOptions], BigtableOptions], type[Exception], list[str]]] = [
    (_no_table, PermanentBackendError, ["market_data", "tables create", "BIGTABLE_INSTANCE_ID"]),
    (_no_project, PermanentBackendError, ["nobody", "BIGTABLE_PROJECT_ID"]),
    (_no_family, PermanentBackendError, ["family", "tables create"]),
    (_nobody_listens, TransientBackendError, ["does not answer", "BIGTABLE_EMULATOR_HOST 127.0.0.1:1"]),
    (_no_credentials, PermanentBackendError, ["credentials", "GOOGLE_APPLICATION_CREDENTIALS", "/no/such/key"]),
]


@pytest.mark.parametrize(("spoil", "kind", "words"), _WRONG, ids=[spoil.__name__ for spoil, *_ in _WRONG])
def test_what_is_wrong_is_said_in_one_line(
    call: Command,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
    options: BigtableOptions,
    spoil: Callable[[BigtableOptions], BigtableOptions],
    kind: type[Exception],
    words: list[str],
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/no/such/key.json")
    monkeypatch.delenv("BIGTABLE_EMULATOR_HOST", raising=False)
    monkeypatch.chdir(tmp_path)
    wrong = spoil(options)
    backend = BigtableBackend(wrong)
    for ask in (backend.check, lambda: put(backend, "trades", rows("trades", [1]))):
        with pytest.raises(kind) as caught:
            ask()
        for word in words:
            assert word in str(caught.value)
    backend.close()
    # A first start wants a backend that answers; nothing was collected yet.
    flags = [flag for flag in flags_of(wrong) if not flag.endswith("=None")]
    code, _, err = call("run", "--url-root", "http://127.0.0.1:1", *flags)
    assert code == 2
    assert err.count("\n") == 1, err
    for word in words:
        assert word in err
    code, out, _ = call("doctor", "--json", "--seconds", "1", "--url-root", "http://127.0.0.1:1", *flags)
    found = {check["name"]: check for check in json.loads(out)["checks"]}["backend bigtable"]
    assert (code, found["level"]) == (1, "FAIL")
    for word in words:
        assert word in found["found"]


def test_the_doctor_leaves_nothing_behind(call: Command, tmp_path: Any, options: BigtableOptions) -> None:
    flags = [*flags_of(options), "--data-dir", str(tmp_path)]
    _, out, _ = call("doctor", "--json", "--seconds", "1", "--url-root", "http://127.0.0.1:1", *flags)
    found = {check["name"]: check for check in json.loads(out)["checks"]}["backend bigtable"]
    assert found["level"] == "ok", found
    backend = BigtableBackend(options)
    assert backend.markets() == []
    assert list(backend._client.read(DATA_TABLE, KeyRange(b"", b"\xff"), values=False)) == []
    backend.close()


def test_settings_open_the_backend(options: BigtableOptions) -> None:
    backend = open_store(settings_of(options))
    put(backend, "trades", rows("trades", [1]))
    assert got(backend, "trades") == rows("trades", [1])
    backend.close()
    with pytest.raises(ValueError, match="BIGTABLE_PROJECT_ID"):
        open_store(StoreSettings(backend="bigtable"))
    assert settings_of(options).place == ("--bigtable-instance-id", options.instance_id)
    assert (settings_of(options).flush_interval_s, StoreSettings().flush_interval_s) == (1.0, 300.0)
