from __future__ import annotations

from pathlib import Path

import pytest

from collector.errors import ConfigurationError
from collector.serve.child import check_address, split_address, store_arguments
from storage_backends.settings import StoreSettings


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8000", ("127.0.0.1", 8000)),
        ("8000", ("127.0.0.1", 8000)),
        (":8000", ("127.0.0.1", 8000)),
        ("[::1]:8000", ("::1", 8000)),
    ],
)
def test_an_address_is_read(text: str, address: tuple[str, int]) -> None:
    assert split_address(text) == address


@pytest.mark.parametrize("text", ["localhost", "localhost:", "localhost:99999", "a:b"])
def test_a_bad_address_is_named(text: str) -> None:
    with pytest.raises(ConfigurationError, match=f"--http {text}"):
        check_address(text)


def test_a_public_address_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="needs a key"):
        check_address("0.0.0.0:8000")
    monkeypatch.setenv("API_KEY", "a-key-of-the-tests-0123456789")
    check_address("0.0.0.0:8000")


def test_the_store_is_opened_by_the_same_options() -> None:
    arguments = store_arguments(StoreSettings(backend="local", data_dir=Path("there")))
    assert arguments[:4] == ["--backend", "local", "--data-dir", "there"]
    assert "--file-format" not in arguments
