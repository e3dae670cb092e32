"""`collector tui`: the terminal view."""

from __future__ import annotations

import click

from collector.clock import SystemClock
from collector.config import setting
from collector.errors import ConfigurationError


@click.command()
@click.option(
    "--host", "--http-host", default="127.0.0.1", show_default=True, help="where the collector answers (`run --http`)"
)
@click.option(
    "--port", "--http-port", default=8000, show_default=True, type=click.IntRange(1, 65535), help="and on which port"
)
@setting("--api-key", multiple=True, help="the key, if one is needed")
def tui(host: str, port: int, api_key: tuple[str, ...]) -> None:
    """Shows a running collector in the terminal: markets, depth, quality, features. Works over SSH at 80 by 24."""
    if "/" in host:
        raise ConfigurationError("--host", host, "is no host: write it as 127.0.0.1, and its port as --port")
    try:
        from collector.tui.app import CollectorView
    except ImportError as error:
        raise ConfigurationError("tui", "", "needs Textual: pip install 'depth-collector[tui]'") from error
    from collector.tui.source import Source

    name = f"[{host}]" if ":" in host else host
    CollectorView(Source(f"http://{name}:{port}", api_key[0] if api_key else None), SystemClock()).run()
