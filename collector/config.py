"""Settings from flags, environment, `.env` and a YAML file, in that order of strength.

click does the work: a flag beats an environment variable, which beats the default map that a YAML file becomes; `.env`
only fills in variables that are not set. Every option can be set as `COLLECTOR_<OPTION>`; some also by the shorter
names that users know. A key that no option has is an error.
"""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from collector.errors import ConfigurationError

PREFIX = "COLLECTOR_"
KNOWN_NAMES = {
    "symbol": "SYMBOL",
    "backend": "DB_BACKEND",
    "shard_index": "SHARD_INDEX",
    "shard_count": "SHARD_COUNT",
    "s3_bucket": "S3_BUCKET",
    "s3_prefix": "S3_PREFIX",
    "s3_region": "S3_REGION",
    "s3_endpoint_url": "S3_ENDPOINT_URL",
    "bigtable_project_id": "BIGTABLE_PROJECT_ID",
    "bigtable_instance_id": "BIGTABLE_INSTANCE_ID",
    "bigtable_emulator_host": "BIGTABLE_EMULATOR_HOST",
    "log_level": "LOG_LEVEL",
    "futures_ws": "FUTURES_WS",
    "spot_ws": "SPOT_WS",
    "depth_speed": "DEPTH_SPEED",
    "context_enabled": "CONTEXT_ENABLED",
    "context_tfs": "CONTEXT_TFS",
    "context_bootstrap_limit": "CONTEXT_BOOTSTRAP_LIMIT",
    "http_host": "HTTP_HOST",
    "http_port": "HTTP_PORT",
    "api_key": "API_KEY",
    "depth_update": "DEPTH_ENABLED",
    "top_n": "TOPN",
    "record_enabled": "RECORD_ENABLED",
    "record_dir": "RECORD_DIR",
    "record_buffer_size": "RECORD_BUFFER_SIZE",
}
"""Options that also have a name without prefix in the environment."""

_FOREIGN = ("AWS_", "BIGTABLE_", "GOOGLE_", "GCP_", "CLOUDSDK_", "PYTHON", "COMPOSE_", "DOCKER_", "LC_", "SHARD_")
_FOREIGN_NAMES = {"TZ", "PATH", "HOME", "LANG", "USER", "SHELL", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"}

Command = TypeVar("Command", bound=Callable[..., Any])


def variables(option: str) -> list[str]:
    """The environment variables of an option, strongest first."""
    return [f"{PREFIX}{option.upper()}", *([KNOWN_NAMES[option]] if option in KNOWN_NAMES else [])]


class FiniteRange(click.FloatRange):
    """A range of numbers; NaN and infinity are none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


class Setting(click.Option):
    """An option that the environment and a file can set too; lists are separated by commas there."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("show_default", True)
        super().__init__(*args, **kwargs)
        if isinstance(self.type, click.IntRange | click.FloatRange):
            # click calls these an "integer range" and a "float range", in help and in errors.
            self.type.name = "integer" if isinstance(self.type, click.IntRange) else "number"
        if self.name is not None and self.envvar is None:
            self.envvar = variables(self.name)

    def value_from_envvar(self, ctx: click.Context) -> Any:
        value = self.resolve_envvar_value(ctx)
        if value is None or not self.multiple:
            return super().value_from_envvar(ctx)
        return tuple(part.strip() for part in value.split(",") if part.strip())

    def consume_value(self, ctx: click.Context, opts: Mapping[str, Any]) -> tuple[Any, Any]:
        value, source = super().consume_value(ctx, opts)
        if self.multiple and isinstance(value, str):
            value = tuple(part.strip() for part in value.split(",") if part.strip())
        elif self.multiple and isinstance(value, int | float):
            value = (str(value),)
        elif self.multiple and isinstance(value, Mapping):
            raise click.BadParameter("must be one value, or a list of them", ctx, self)
        return value, source


def setting(*names: str, **attributes: Any) -> Callable[[Command], Command]:
    """A click option of class `Setting`."""
    return click.option(*names, cls=Setting, **attributes)


def load_environment_file(path: Path, known: Iterable[str]) -> None:
    """Fills variables that are not set from a `.env` file; nothing happens when there is none.

    Raises:
        ConfigurationError: a key that nothing reads.
    """
    if not path.is_file():
        return
    from dotenv import dotenv_values

    names = [name for option in known for name in variables(option)]
    for key, value in dotenv_values(path).items():
        if key not in names and not _foreign(key):
            raise unknown_key(f"{path.name} key", key, names)
        if value is not None:
            os.environ.setdefault(key, value)


def check_environment(environment: Iterable[str], known: Iterable[str]) -> None:
    """Refuses variables that begin with `COLLECTOR_` and mean nothing.

    Raises:
        ConfigurationError: naming the nearest variable that exists.
    """
    names = [name for option in known for name in variables(option)]
    for key in environment:
        if key.startswith(PREFIX) and key not in names:
            raise unknown_key("environment variable", key, names)


_SECTIONS: Final[dict[str, dict[str, str | None]]] = {
    "storage": {"base_path": "data_dir", "compression": None},
    "api": {"host": "http_host", "port": "http_port", "api_key": "api_key"},
}
"""Keys that may stand in a section of their own, and the options that they stand for."""


def load_file(path: Path, command: click.Command, others: Sequence[click.Command] = ()) -> dict[str, Any]:
    """A YAML file as click's default map for `command`. Keys are option names, with `_` or `-`.

    `storage: {base_path, compression}` and `api: {host, port, api_key}` stand for --data-dir, --http-host, --http-port
    and --api-key. Options that only other commands have may stand in the same file and are left out.

    Raises:
        ConfigurationError: not readable, not a mapping, or with an unknown key.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        """Of a key that stands there twice YAML takes the last, which is hardly what was meant."""

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            twice = next((key for number, key in enumerate(keys) if key in keys[:number]), None)
            if twice is not None:
                raise ConfigurationError(f"--config {path}: key", twice, "stands there twice")
            return super().construct_mapping(node, deep)

    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader)  # noqa: S506  it is a SafeLoader
    except OSError as error:
        raise ConfigurationError("--config", path, f"cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = " ".join(str(error).split())
        raise ConfigurationError("--config", path, f"is not YAML: {where}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigurationError("--config", path, "must hold `option: value` lines")
    mine = _file_options(command)
    theirs = {name for other in others for name in _file_options(other)}
    values: dict[str, Any] = {}
    for key, value in _flat(path, content).items():
        name = str(key).replace("-", "_")
        if name in mine:
            values[mine[name]] = value
        elif name not in theirs:
            raise unknown_key(f"--config {path}: key", str(key), sorted(mine))
    return values


def _flat(path: Path, content: dict[Any, Any]) -> dict[Any, Any]:
    """`content` with the sections `storage` and `api` as the options that they stand for.

    Raises:
        ConfigurationError: an unknown key of a section, one that is set twice, or a compression that nobody writes.
    """
    flat = {key: value for key, value in content.items() if key not in _SECTIONS}
    for section, names in _SECTIONS.items():
        entries = content.get(section, {})
        if not isinstance(entries, dict):
            raise ConfigurationError(f"--config {path}: key", section, f"must hold {', '.join(names)}")
        for key, value in entries.items():
            if key not in names:
                raise unknown_key(f"--config {path}: key", f"{section}.{key}", [f"{section}.{name}" for name in names])
            option = names[key]
            if option is None:
                if value != "zstd":
                    raise ConfigurationError(
                        f"--config {path}: key", f"{section}.{key}", "must be zstd: files are written in no other"
                    )
            elif {option, option.replace("_", "-")} & flat.keys():
                raise ConfigurationError(f"--config {path}: key", f"{section}.{key}", f"is set as {option} too")
            else:
                flat[option] = [value] if option == "api_key" and isinstance(value, str) else value
    return flat


def _file_options(command: click.Command) -> dict[str, str]:
    """What a file can set, all but the one that names the file: parameters by their names and by their flags."""
    settings = [one for one in command.params if isinstance(one, Setting) and one.name != "config"]
    by_flag = {flag.lstrip("-").replace("-", "_"): str(one.name) for one in settings for flag in one.opts}
    return {**by_flag, **{str(one.name): str(one.name) for one in settings}}


def unknown_key(where: str, key: str, names: Iterable[str]) -> ConfigurationError:
    """The error for a key that nothing reads, with the nearest one that something does."""
    near = difflib.get_close_matches(key, list(names), n=1, cutoff=0.5)
    return ConfigurationError(where, key, f"is unknown; did you mean {near[0]}?" if near else "is unknown")


def _foreign(key: str) -> bool:
    return key in _FOREIGN_NAMES or key.startswith(_FOREIGN)
