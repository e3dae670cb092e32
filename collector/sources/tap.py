"""What one websocket connection delivers, from the socket to the sink."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from collector.sources.feed import FeedSink

log = logging.getLogger(__name__)

# Replies to our own requests. Market data never begins like this, so the sink need not see them.
_REPLY_STARTS = ('{"result"', '{"error"', '{"id"', '{"code"')
_MAX_REPLY_CHARS = 8192  # the exchange's own messages are short; anything longer is market data or garbage


class Reply(NamedTuple):
    """The exchange's answer to a request. `error` is its text, None for a yes."""

    message: dict[str, Any]
    error: str | None


class Tap:
    """Hands every frame of one connection to the sink, stamped, exactly as received and before any parsing.

    Nothing escapes from `receive`: an exception in ccxt's receive loop would end it in silence, with the socket open.

    Attributes:
        connection: number that the sink knows this connection by.
        seen_ns: when each (symbol, channel) last brought data.
        heard_ns: when anything last came, pings and pongs included.
    """

    def __init__(
        self,
        connection: int,
        sink: FeedSink,
        *,
        on_open: Callable[[int], None],
        on_reply: Callable[[int, Reply], None],
        on_shutdown: Callable[[int], None],
    ) -> None:
        """`on_open` is called once: at the acknowledgement, or before data that overtook it."""
        self.connection = connection
        self.seen_ns: dict[tuple[str, str], int] = {}
        self.heard_ns = 0
        self._sink = sink
        self._on_open = on_open
        self._on_reply = on_reply
        self._on_shutdown = on_shutdown
        self._waiting = True
        self._shut = False

    def receive(self, recv_ns: int, text: str | bytes) -> None:
        """One frame, in the order of receipt."""
        self.heard_ns = recv_ns
        if self._shut:  # the connection is already reported as closed; what still drips in lies in its gap
            return
        try:
            if self._waiting:
                if self._control(recv_ns, text):
                    return
                self._open(recv_ns)
            elif isinstance(text, str) and text.startswith(_REPLY_STARTS) and self._control(recv_ns, text):
                return
            stream = self._sink.frame(recv_ns, self.connection, text)
            if stream is not None:
                self.seen_ns[stream.symbol, stream.channel] = recv_ns
            else:
                self._control(recv_ns, text)
        except Exception:
            log.exception("a frame of connection %d could not be handled", self.connection)

    def shut(self) -> None:
        """From now on frames are ignored; call it before the sink learns that the connection is closed."""
        self._shut = True

    def _open(self, recv_ns: int) -> None:
        if self._waiting:
            self._waiting = False
            self._on_open(recv_ns)

    def _control(self, recv_ns: int, text: str | bytes) -> bool:
        """Acts on a message that is about the connection. False when `text` is none."""
        if len(text) > _MAX_REPLY_CHARS:
            return False
        try:
            message = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return False
        if not isinstance(message, dict):
            return False
        if "id" in message and ("result" in message or "error" in message or "code" in message):
            reply = _reply(message)
            if reply.error is None:
                self._open(recv_ns)
            self._on_reply(recv_ns, reply)
            return True
        data = message.get("data", message)
        if isinstance(data, dict) and data.get("e") == "serverShutdown":
            self._on_shutdown(recv_ns)
            return True
        return False


def _reply(message: dict[str, Any]) -> Reply:
    if "error" in message:
        return Reply(message, msgspec.json.encode(message["error"]).decode())
    if "code" in message:
        # The older form of an error; ccxt would take it for a yes.
        error = {"code": message["code"], "msg": message.get("msg", "")}
        return Reply({"error": error, "id": message["id"]}, msgspec.json.encode(error).decode())
    return Reply(message, None)
