"""What ccxt needs only for signing and for its synchronous exchanges is imported when it is needed, and works then."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

ROOT = Path(__file__).parents[2]

LEAN = "import sys\nfrom collector.sources import lazy_ccxt\nlazy_ccxt.load('binanceusdm')\n"
IMPORTED = "def imported(): return {name.partition('.')[0] for name in sys.modules} & {'cryptography', 'requests'}\n"


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_public_data_needs_neither_of_them() -> None:
    made = "exchange = lazy_ccxt.load('binanceusdm')()\nassert exchange.id == 'binanceusdm'\n"
    run(LEAN + IMPORTED + made + "assert not imported(), imported()")


def test_an_exchange_calls_itself_by_the_same_name() -> None:
    named = "import ccxt.async_support as ccxt\nprint(ccxt.binanceusdm().userAgent)"
    assert run(LEAN + named) == run(named) != "None\n"


SIGNED = """
from ccxt.base.exchange import Exchange
print(Exchange.ecdsa("22" * 32, "11" * 32, "secp256k1", "sha256"))
print(Exchange.ecdsa("22" * 32, "11" * 32, "p256", None))
print(Exchange.eddsa(b"text", b"1" * 32))
print(Exchange.rsa("text", PEM, "sha256"))
print(Exchange.jwt({"a": 1}, PEM.encode(), "sha256", True))
print(Exchange.secp256k1_uncompressed_public_key(b"1" * 32))
"""


def test_signatures_are_those_that_ccxt_makes() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    sign = f"PEM = {pem!r}\n{SIGNED}"
    signed = run(LEAN + sign)
    assert signed == run(sign)
    assert signed.count("\n") == 6


def test_what_was_used_once_is_the_real_thing_from_then_on() -> None:
    run(
        LEAN + IMPORTED + "import ccxt.base.exchange as base\n"
        "assert not isinstance(3, base.Session)\n"
        "assert imported() == {'requests'}, imported()\n"
        "import requests\n"
        "assert base.Session is requests.Session and base.HTTPError is requests.HTTPError\n"
    )


def test_a_synchronous_exchange_says_that_there_is_no_network() -> None:
    asked = (
        "import ccxt\n"
        "exchange = ccxt.kraken({'timeout': 2000})\n"
        "try:\n"
        "    exchange.fetch('http://127.0.0.1:1/')\n"
        "except ccxt.NetworkError as error:\n"
        "    print(type(error).__name__)\n"
    )
    assert run(LEAN + asked) == run(asked) == "NetworkError\n"


def test_everybody_else_imports_the_libraries_as_ever() -> None:
    run(LEAN + "import requests, cryptography.hazmat.primitives.hashes as hashes\nrequests.Session(), hashes.SHA256()")


def test_a_library_that_is_there_is_used_as_it_is() -> None:
    run(
        "import requests\n" + LEAN + IMPORTED + "import ccxt.base.exchange as base\n"
        "assert imported() == {'requests'} and base.Session is requests.Session\n"
    )


def test_what_is_not_there_is_missed_when_it_is_used() -> None:
    run(
        "import sys\nfrom collector.sources.deferred import import_deferring\n"
        "import importlib.abc, types\n"
        "class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'borrower':\n"
        "            return importlib.machinery.ModuleSpec(name, self)\n"
        "    def create_module(self, spec):\n"
        "        return types.ModuleType(spec.name)\n"
        "    def exec_module(self, module):\n"
        "        exec('from nowhere.deep import thing', vars(module))\n"
        "sys.meta_path.append(Finder())\n"
        "borrower = import_deferring('borrower', ['nowhere'])\n"
        "try:\n"
        "    borrower.thing()\n"
        "except ModuleNotFoundError as error:\n"
        "    assert error.name == 'nowhere', error\n"
        "else:\n"
        "    raise AssertionError\n"
    )
