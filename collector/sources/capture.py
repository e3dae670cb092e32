"""Capture files and their reader: one input a line, `<recv_ns> <json>`; plain, gzip or zstd, told apart by content.

The JSON is `{"stream":…,"data":<the frame's exact text>}`, or a bare REST snapshot (an object with `lastUpdateId`,
`bids` and `asks`). Lines of the stream `!collector` are the collector's own. A stamp of 16 digits is in microseconds;
any other length is nanoseconds. `capture_writer` pads its stamps to 19 digits, so that no stamp of its own is ever
taken for microseconds. hftbacktest reads and writes the same form.

A crash leaves a torn last line or a cut compressed tail. Both end a file quietly and are told in a `ReadReport`.
"""

from __future__ import annotations

import heapq
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

COLLECTOR_STREAM = "!collector"
RAW_STREAM = "!raw"
"""Frames as received where others lines hold what was made of them; a text that is no JSON stands as a JSON string."""

OWN_NAME = re.compile(r"([\w-]+)_([a-z][a-z0-9-]*)_(\d{8}T\d{6})_(\d+)\.zst")
"""How `capture_writer` names its files: symbol, exchange, when it was begun, and its number within that second."""

LAST_NS = 7_258_118_400 * 10**9
"""No stamp is later: the year 2200."""

_CHUNK_BYTES = 1 << 16
_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_TORN_FIRST_LINE = re.compile(rb"\d{1,20}( (\{.*)?)?", re.DOTALL)


class CaptureError(ValueError):
    """A file is missing, is no capture, or is damaged in the middle; the message names the file and the line."""


class CaptureLine(NamedTuple):
    """One input. `stream` None is a bare REST snapshot; `data` holds the exact bytes of the frame or the snapshot."""

    recv_ns: int
    stream: str | None
    data: bytes


@dataclass(slots=True)
class ReadReport:
    """What became of a file while it was read; complete once the iterator is exhausted."""

    lines: int = 0
    skipped: int = 0
    """Malformed lines passed over because the reader was tolerant."""
    torn: str | None = None
    """Why the file ended early, None when its end is whole."""


_ABSENT = msgspec.Raw()


class _Line(msgspec.Struct):
    stream: str | None = None
    data: msgspec.Raw = _ABSENT
    snapshot_id: msgspec.Raw = msgspec.field(name="lastUpdateId", default=_ABSENT)
    bids: msgspec.Raw = _ABSENT
    asks: msgspec.Raw = _ABSENT


_decode_line = msgspec.json.Decoder(_Line).decode


def parse_line(line: bytes) -> CaptureLine:
    """Parses one line without its newline.

    Raises:
        ValueError: the line is not of the capture form.
    """
    stamp, _, text = line.partition(b" ")
    if not stamp.isdigit() or len(stamp) > 20:
        raise ValueError("it does not begin with a time stamp")
    recv_ns = int(stamp)
    if len(stamp) == 16:
        recv_ns *= 1000
    if recv_ns > LAST_NS:
        raise ValueError(f"its time stamp {recv_ns} lies beyond the year 2200")
    try:
        envelope = _decode_line(text)
    except msgspec.MsgspecError as error:
        raise ValueError(f"after the stamp stands no capture JSON: {error}") from None
    if envelope.stream is not None and envelope.data:
        return CaptureLine(recv_ns, envelope.stream, bytes(envelope.data))
    if envelope.snapshot_id and envelope.bids and envelope.asks:
        return CaptureLine(recv_ns, None, text)
    raise ValueError("the JSON holds neither stream and data nor a snapshot")


def read_capture(
    path: Path | str, *, tolerant: bool = False, report: ReadReport | None = None
) -> Iterator[CaptureLine]:
    """Yields the lines of one file in file order. `report`, when given, is filled while lines are taken.

    Args:
        tolerant: pass over malformed lines in the middle (counted in `report.skipped`) and end quietly where a
            compressed file is corrupt, instead of raising.

    Raises:
        CaptureError: at once, when the file is missing, a folder or unreadable; on the way, for a first line that is no
            capture, a malformed line or corrupt compression in the middle.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            head = file.read(4)
    except OSError as error:
        raise CaptureError(f"capture {path}: {error.strerror or error}") from error
    return _read(path, head, tolerant, ReadReport() if report is None else report)


def in_turn(paths: Iterable[Path | str]) -> list[list[Path]]:
    """Files that follow on each other: those that `capture_writer` made of one market in one folder, as it named them.

    Any other file stands alone. In the order in which the first file of each was given.
    """
    found: dict[tuple[Path | str, ...], list[tuple[str, int, Path]]] = {}
    for path in map(Path, paths):
        named = OWN_NAME.fullmatch(path.name)
        if named is None:
            found.setdefault((path,), []).append(("", len(found), path))
        else:
            symbol, exchange, begun, number = named.groups()
            found.setdefault((path.parent, symbol, exchange), []).append((begun, int(number), path))
    return [[path for *_, path in sorted(files)] for files in found.values()]


def merge_captures(
    paths: Iterable[Path | str], *, tolerant: bool = False, reports: dict[Path, ReadReport] | None = None
) -> Iterator[tuple[Path, CaptureLine]]:
    """Merges files by `recv_ns`. Ties go to the file named first; the order inside a file always stays.

    Files of one market that follow on each other (`in_turn`) are read one after the other, whatever their stamps: a
    session may begin at an earlier time than the one before it ended, where the wall clock was set back between them.

    Raises:
        CaptureError: see `read_capture`.
    """
    readers = []
    for files in in_turn(paths):
        several = []
        for path in files:
            report = ReadReport()
            if reports is not None:
                reports[path] = report
            several.append((path, read_capture(path, tolerant=tolerant, report=report)))
        readers.append(_one_after_the_other(several))
    return ((path, line) for _, path, line in heapq.merge(*readers, key=_by_time))


def symbol_of(path: Path | str, wanted: Sequence[str] = ()) -> str | None:
    """The exchange symbol that a file's name stands for; bare snapshots in the file belong to it.

    A symbol counts when it stands in the name between characters that are neither letters nor digits, in any case; the
    longest wins. Without `wanted`, the candidates are the symbols of the file's own streams, given back in upper case.

    Raises:
        CaptureError: `wanted` is empty and the file cannot be read.
    """
    path = Path(path)
    stem = path.name.partition(".")[0].lower()
    if wanted:
        named = [symbol for symbol in wanted if _stands_in(symbol.lower(), stem)]
        return max(named, key=len, default=None)
    seen = set()
    for line in read_capture(path, tolerant=True):
        symbol = (line.stream or "").partition("@")[0].lower()
        if symbol and symbol not in seen:
            seen.add(symbol)
            if _stands_in(symbol, stem):
                return symbol.upper()
    return None


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


def _read(path: Path, head: bytes, tolerant: bool, report: ReadReport) -> Iterator[CaptureLine]:
    number = 0
    for line, whole in _lines(_plain_chunks(path, head, tolerant, report)):
        number += 1
        try:
            parsed = parse_line(line)
        except ValueError as error:
            if not whole and (number > 1 or _TORN_FIRST_LINE.fullmatch(line)):
                report.torn = report.torn or f"line {number} is cut short"
                return
            if number == 1:
                raise CaptureError(f"{path} is not a capture: {error}") from None
            if not tolerant:
                raise CaptureError(f"capture {path}, line {number}: {error}") from None
            report.skipped += 1
            continue
        report.lines += 1
        yield parsed


def _plain_chunks(path: Path, head: bytes, tolerant: bool, report: ReadReport) -> Iterator[bytes]:
    with path.open("rb") as file:
        chunks = iter(lambda: file.read(_CHUNK_BYTES), b"")
        if head and (_GZIP_MAGIC.startswith(head) or _ZSTD_MAGIC.startswith(head)) and len(head) < 4:
            report.torn = "the file ends inside its first four bytes"
        elif head.startswith(_GZIP_MAGIC):
            yield from _decompressed(path, chunks, lambda: zlib.decompressobj(31), tolerant, report)
        elif head == _ZSTD_MAGIC:
            yield from _decompressed(path, chunks, _zstd_decompressor(), tolerant, report)
        else:
            yield from chunks


def _zstd_decompressor() -> Callable[[], Any]:
    import zstandard

    return zstandard.ZstdDecompressor().decompressobj


def _decompressed(
    path: Path, chunks: Iterator[bytes], member: Callable[[], _Decompressor], tolerant: bool, report: ReadReport
) -> Iterator[bytes]:
    """Plain bytes of a chain of gzip members or zstd frames."""
    decompressor: _Decompressor | None = None
    for chunk in chunks:
        while chunk:
            decompressor = decompressor or member()
            try:
                plain = decompressor.decompress(chunk)
            except Exception as error:
                # zlib.error and zstandard.ZstdError share no base; nothing else comes out of a decompressor.
                if not tolerant:
                    raise CaptureError(f"capture {path}: its compression is damaged ({error})") from error
                report.torn = f"compression is damaged ({error})"
                return
            if plain:
                yield plain
            if not decompressor.eof:
                break
            chunk = decompressor.unused_data
            decompressor = None
    if decompressor is not None:
        report.torn = "the compressed data is cut short"


def _lines(chunks: Iterator[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Lines without their newline; the flag tells whether there was one."""
    rest: list[bytes] = []
    for chunk in chunks:
        first, *others = chunk.split(b"\n")
        rest.append(first)
        if others:
            yield b"".join(rest), True
            for line in others[:-1]:
                yield line, True
            rest = [others[-1]]
    last = b"".join(rest)
    if last:
        yield last, False


def _one_after_the_other(
    files: Sequence[tuple[Path, Iterator[CaptureLine]]],
) -> Iterator[tuple[int, Path, CaptureLine]]:
    """Each line with its place in a merge: the latest stamp up to it."""
    reached_ns = 0
    for path, lines in files:
        for line in lines:
            reached_ns = max(reached_ns, line.recv_ns)
            yield reached_ns, path, line


def _by_time(placed: tuple[int, Path, CaptureLine]) -> int:
    return placed[0]


def _stands_in(symbol: str, stem: str) -> bool:
    return re.search(rf"(?<![0-9a-z]){re.escape(symbol)}(?![0-9a-z])", stem) is not None
