"""`collector serve`: HTTP over a store, and over the run that fills it."""

from __future__ import annotations

import os
import signal
import sys
import threading

import click

from collector.clock import SystemClock
from collector.commands.log_options import logs_to_stderr
from collector.commands.options import config_option, open_store, store_options
from collector.config import FiniteRange, setting
from storage_backends.settings import StoreSettings

_NICE = 10  # beside a run, which must never wait for those who ask


def _show_new_key(ctx: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if not wanted:
        return
    from collector.serve.keys import hashed, new_key

    key = new_key()
    click.echo(f"key:  {key}\nhash: {hashed(key)}\n\nGive the key to whoever asks, and the hash to --api-key.")
    ctx.exit()


def _end_with_parent() -> None:
    """A collector that was killed must not leave a process behind that holds its port."""
    # Not by sys.stdin, whose lock a thread that waits would hold while the interpreter ends.
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


@click.command()
@setting(
    "--http-host",
    "--host",
    default="127.0.0.1",
    help="address to listen on; another than this machine's own needs a key",
)
@setting("--http-port", "--port", default=8000, type=click.IntRange(0, 65535), help="port to listen on")
@setting("--api-key", multiple=True, help="a key, or its hash sha256:…; several while one is replaced")
@setting("--requests-per-s", default=50.0, type=FiniteRange(0.1), help="requests a second of one key or address")
@store_options
@config_option
@click.option("--with-parent", is_flag=True, hidden=True, help="end when standard input does")
@click.option("--new-key", is_flag=True, is_eager=True, expose_value=False, callback=_show_new_key, help="make a key")
@logs_to_stderr
def serve(
    http_host: str,
    http_port: int,
    api_key: tuple[str, ...],
    requests_per_s: float,
    store: StoreSettings,
    with_parent: bool,
) -> None:
    """Answers questions over HTTP: what is collected now, and what was stored.

    Listens on this machine alone, unless keys are set. /docs describes every question.
    """
    if with_parent:
        os.nice(_NICE)
        threading.Thread(target=_end_with_parent, daemon=True).start()
    from collector.serve.keys import read_keys
    from collector.serve.settings import ServeSettings

    settings = ServeSettings(
        store=store, host=http_host, port=http_port, keys=read_keys(api_key), requests_per_s=requests_per_s
    )
    from collector.serve.app import create_app
    from collector.serve.server import listen
    from collector.serve.server import serve as run_server

    backend = open_store(store, must_exist=not with_parent)
    listening = listen(settings)
    app = create_app(settings, backend, SystemClock())
    name = f"[{http_host.strip('[]')}]" if ":" in http_host else http_host
    click.echo(f"answering on http://{name}:{listening.getsockname()[1]}  (questions: /docs)")
    run_server(app, settings, listening)
