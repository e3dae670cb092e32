"""What we take hold of in ccxt. When a new release breaks one of these, the tap would go blind, not loud."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from collector.sources import lazy_ccxt, transport

ROOT = Path(__file__).parents[2]


def parameters(function) -> list[str]:
    return list(inspect.signature(function).parameters)


@pytest.mark.parametrize("name", lazy_ccxt.EXCHANGES)
@pytest.mark.parametrize(
    ("hook", "arguments"),
    [
        ("client", ["self", "url"]),
        ("ws_dial_delay", ["self", "url"]),
        ("watch_multiple", ["self", "url", "message_hashes", "message", "subscribe_hashes", "subscription"]),
        ("get_ws_url", ["self", "type", "category"]),
        ("get_future_ws_category", ["self", "channel"]),
        ("stream", ["self", "type", "subscriptionHash", "numSubscriptions"]),
        ("request_id", ["self", "url"]),
        ("fetch2", ["self", "path", "api", "method", "params", "config"]),
        ("close", ["self", "clean_instance_data"]),
    ],
)
def test_the_exchange_has_what_we_call_and_override(name, hook, arguments):
    assert parameters(getattr(lazy_ccxt.load(name), hook)) == arguments


@pytest.mark.parametrize(
    ("hook", "arguments"),
    [
        ("receive_loop", ["self"]),
        ("handle_message", ["self", "message"]),
        ("handle_text_or_binary_message", ["self", "data"]),
        ("open", ["self", "session", "backoff_delay"]),
        ("close", ["self", "code"]),
        ("reset", ["self", "error"]),
    ],
)
def test_the_connection_has_what_we_call_and_override(hook, arguments):
    assert parameters(getattr(transport.Client, hook)) == arguments
    assert inspect.iscoroutinefunction(transport.Client.open)
    assert isinstance(transport.ccxt_client.MSG_SIZE_OVERHEAD, int)
    assert isinstance(transport.Client.buffer, property)
    assert {"on_message_callback", "connection", "last_retry_after"} <= set(vars(transport.Client)) | set(
        inspect.getsource(transport.Client.__init__).replace(".", " ").split()
    )


def test_our_overrides_override():
    for hook in ("client", "ws_dial_delay", "timeout_on_exit"):
        assert hook in vars(transport._Hooks)
        for name in lazy_ccxt.EXCHANGES:
            assert hasattr(lazy_ccxt.load(name), hook)
    for hook in ("handle_message", "handle_text_or_binary_message", "open"):
        assert hook in vars(transport.TapClient)
        assert hook in vars(transport.Client)


def test_the_release_is_one_that_routes_futures_streams():
    assert tuple(map(int, version("ccxt").split(".")[:3])) >= (4, 5, 75)


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_only_binance_is_imported():
    modules = run(
        "import sys; from collector.sources import lazy_ccxt; lazy_ccxt.load('binance'); lazy_ccxt.load('binanceusdm');"
        "print(*[name for name in sys.modules if name.startswith('ccxt')])"
    ).split()
    assert "ccxt.pro.binanceusdm" in modules
    assert not [name for name in modules if "kraken" in name or "okx" in name]
    assert len(modules) < 40


def test_the_rest_of_ccxt_is_still_there_for_who_asks():
    printed = run(
        "from collector.sources import lazy_ccxt; lazy_ccxt.install()\n"
        "import ccxt, ccxt.pro, ccxt.async_support as rest\n"
        "from ccxt.pro.binance import binance\n"
        "print(ccxt.pro.binance is binance, rest.kraken.__name__, ccxt.NetworkError, hasattr(ccxt, 'nonsense'))\n"
        "print(ccxt.pro.coinbaseexchange({}).id, ccxt.kraken().id, ccxt.__version__)"
    )
    assert printed.splitlines() == [
        "True kraken <class 'ccxt.base.errors.NetworkError'> False",
        f"coinbaseexchange kraken {version('ccxt')}",
    ]


def test_after_a_full_import_it_is_used_as_it_is():
    assert run(
        "import ccxt.pro\nfrom collector.sources import lazy_ccxt\n"
        "print(lazy_ccxt.load('binanceusdm') is ccxt.pro.binanceusdm)"
    ).split() == ["True"]


def test_what_is_not_ours():
    with pytest.raises(ValueError, match="krakatoa"):
        lazy_ccxt.load("krakatoa")


def test_settings_and_the_feed_module_do_not_bring_ccxt_in():
    assert (
        run(
            "import sys; import collector.sources.binance_feed, collector.sources.settings;"
            "print([name for name in sys.modules if name.startswith(('ccxt', 'aiohttp', 'pyarrow'))])"
        ).strip()
        == "[]"
    )
