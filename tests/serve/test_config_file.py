"""`serve --config`: sections for the store and the address."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector.commands.run import run
from collector.commands.serve import serve
from collector.config import load_file
from collector.errors import ConfigurationError


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "serve.yaml"
    path.write_text(text)
    return path


def test_sections_stand_for_options(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "storage: {base_path: /there, compression: zstd}\napi: {host: 127.0.0.1, port: 9000, api_key: abc}\n",
    )
    assert load_file(path, serve) == {
        "data_dir": "/there",
        "http_host": "127.0.0.1",
        "http_port": 9000,
        "api_key": ["abc"],
    }
    assert load_file(path, run, [serve]) == {"data_dir": "/there"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("storage: {bas_path: x}", "storage.base_path"),
        ("storage: {compression: lz4}", "must be zstd"),
        ("storage: [x]", "must hold base_path"),
        ("data-dir: a\nstorage: {base_path: b}", "set as data_dir too"),
        ("api: {hots: x}", "api.host"),
    ],
)
def test_a_wrong_section_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        load_file(written(tmp_path, text), serve)


def test_the_command_takes_it(tmp_path: Path) -> None:
    from click.testing import CliRunner

    path = written(tmp_path, f"storage: {{base_path: {tmp_path}}}\napi: {{host: 0.0.0.0, port: 0}}\n")
    done = CliRunner().invoke(serve, ["--config", str(path)], standalone_mode=False)
    assert "needs a key" in str(done.exception)
