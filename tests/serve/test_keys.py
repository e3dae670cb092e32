from __future__ import annotations

import pytest

from collector.errors import ConfigurationError
from collector.serve.keys import hashed, matching, new_key, read_keys
from collector.serve.rates import Rates
from collector.serve.settings import ServeSettings, is_loopback
from storage_backends.settings import StoreSettings

STORE = StoreSettings(backend="local")


def test_a_key_is_kept_as_its_hash() -> None:
    one, other = new_key(), new_key()
    assert one != other
    kept = read_keys([one, hashed(other), one])
    assert kept == (hashed(one), hashed(other))
    assert one not in repr(kept)
    assert matching(other, kept) == hashed(other)
    assert matching(other[:-1], kept) is None
    assert matching(hashed(one), kept) is None, "the hash is no key"
    assert matching("", kept) is None


@pytest.mark.parametrize("bad", ["tiny key 7", "sha256:12", "sha256:" + "G" * 64])
def test_a_bad_key_is_refused_and_not_shown(bad: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_keys([bad])
    assert bad not in str(refused.value)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.2", "example.com"])
def test_an_address_that_others_reach_needs_a_key(host: str) -> None:
    with pytest.raises(ConfigurationError, match=r"--http-host.*needs a key"):
        ServeSettings(store=STORE, host=host)
    assert ServeSettings(store=STORE, host=host, keys=(hashed(new_key()),)).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_this_machine_alone_needs_none(host: str) -> None:
    assert is_loopback(host)
    assert ServeSettings(store=STORE, host=host).keys == ()


def test_rates_fill_again_and_forget_the_silent() -> None:
    rates = Rates(per_s=2, burst=3)
    assert [rates.wait_s("a", 0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert rates.wait_s("b", 0) == 0, "each has a bucket of its own"
    assert rates.wait_s("a", 0.5) == 0
    assert rates.wait_s("a", 0.5) == 0.5
    for number in range(20_000):
        rates.wait_s(f"flood {number}", 1)
    assert len(rates._buckets) == 10_000
