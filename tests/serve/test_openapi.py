"""Questions made from the OpenAPI description, sensible and not: none makes the server fail."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.clock import ManualClock
from collector.serve.app import create_app
from collector.serve.settings import ServeSettings
from storage_backends.schema import TABLES
from storage_backends.settings import StoreSettings
from tests.audit.sample import Sample
from tests.core.exchange import SECOND, START_NS

_EXAMPLES = 12
_ENDLESS = "/stream"  # has tests of its own
_ALLOWED = {200, 202, 400, 404, 405, 409, 413, 414, 422, 503}


@pytest.fixture(scope="module")
def operations(sample: Sample) -> list[Any]:
    store = StoreSettings(backend="local", data_dir=sample.folder)
    chosen = ServeSettings(store=store, requests_per_s=1e6, burst=10**9)
    app = create_app(chosen, sample.store, ManualClock(START_NS + 30 * SECOND))
    found = [one.ok() for one in schemathesis.openapi.from_asgi("/openapi.json", app).get_all_operations()]
    return [one for one in found if one.path != _ENDLESS]


@pytest.mark.parametrize("sound", [False, True], ids=["any names", "a market that is stored"])
def test_nothing_makes_the_server_fail(operations: list[Any], sound: bool) -> None:
    assert len(operations) > 12
    for operation in operations:

        @given(case=operation.as_strategy(), table=st.sampled_from(sorted(TABLES)))
        @settings(max_examples=_EXAMPLES, database=None, deadline=None, suppress_health_check=list(HealthCheck))
        def asked(case: Any, table: str) -> None:
            if sound:
                # Names that exist lead past the first refusal, to times, cursors and limits of every kind.
                known = {"symbol": "BTCUSDT", "table": table}
                for name in set(case.path_parameters) & set(known):
                    case.path_parameters[name] = known[name]
                case.query.pop("exchange", None)
            answer = case.call()
            assert answer.status_code in _ALLOWED, (case.as_curl_command(), answer.text)
            assert answer.status_code != 503 or case.operation.path in ("/ready", "/state"), answer.text

        asked()


def test_every_question_is_described_and_has_examples(operations: list[Any]) -> None:
    for operation in operations:
        raw = operation.definition.raw
        assert raw.get("summary"), operation.label
        for parameter in raw.get("parameters", []):
            if parameter["in"] == "path" and parameter["name"] != "what":
                assert parameter["schema"].get("examples"), f"{operation.label} {parameter['name']}"
