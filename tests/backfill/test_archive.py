"""The exchange's daily files, in all the forms that they have had."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from collector.backfill.archive import ArchiveError, ArchiveFile, find_archives, kline_rows, trade_rows
from storage_backends.schema import TABLES
from tests.backfill.conftest import write_archive

DAY_NS = 86_400 * 10**9
START_NS = 1_763_596_800 * 10**9  # 2025-11-20
MS = START_NS // 10**6
FUTURES_HEAD = "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker"


def found(folder: Path, exchange: str, kind: str, days: int = 1) -> list[ArchiveFile]:
    return find_archives(folder, exchange, "BTCUSDT", kind, START_NS, START_NS + days * DAY_NS)


def test_futures_trades_with_and_without_a_header(tmp_path: Path) -> None:
    lines = [f"7,90000.10,0.005,11,12,{MS + 1},true", f"8,90000.2,1,13,13,{MS + 2},false"]
    for number, head in enumerate(([], [FUTURES_HEAD])):
        folder = tmp_path / str(number)
        write_archive(folder, "BTCUSDT-aggTrades-2025-11-20", [*head, *lines])
        (archive,) = found(folder, "binanceusdm", "trades")
        (rows,) = trade_rows(archive, "trades", 99)
        assert rows.schema == TABLES["trades"].schema
        assert rows.to_pylist()[0] == {
            "agg_trade_id": 7,
            "first_id": 11,
            "last_id": 12,
            "price": 90000.1,
            "quantity": 0.005,
            "normal_quantity": None,
            "is_buyer_maker": True,
            "timestamp": MS + 1,
            "recv_ns": 99,
            "source": "archive",
        }
        assert rows.column("is_buyer_maker").to_pylist() == [True, False]


def test_spot_trades_in_microseconds(tmp_path: Path) -> None:
    lines = [f"7,90000.10000000,0.00500000,11,12,{MS + 1}234,True,True", f"8,90000.2,1.0,13,13,{MS + 2}000,False,True"]
    write_archive(tmp_path, "BTCUSDT-aggTrades-2025-11-20", lines)
    (archive,) = found(tmp_path, "binance", "trades")
    (rows,) = trade_rows(archive, "trades", 99)
    assert rows.column("timestamp").to_pylist() == [MS + 1, MS + 2]
    assert rows.column("price").to_pylist() == [90000.1, 90000.2]


def test_single_trades(tmp_path: Path) -> None:
    write_archive(tmp_path / "spot", "BTCUSDT-trades-2025-11-20", [f"5,1.5,2.0,3.0,{MS}000,True,True"])
    head = "id,price,qty,quote_qty,time,is_buyer_maker"
    write_archive(tmp_path / "um", "BTCUSDT-trades-2025-11-20", [head, f"5,1.5,2.0,3.0,{MS},true"])
    for exchange, folder in (("binance", "spot"), ("binanceusdm", "um")):
        (archive,) = found(tmp_path, exchange, "raw_trades")
        assert archive.path.parent.name == folder, "laid out as on the server, the others' files are left out"
        (rows,) = trade_rows(archive, "raw_trades", 99)
        assert rows.schema == TABLES["raw_trades"].schema
        (row,) = rows.to_pylist()
        assert (row["trade_id"], row["price"], row["quantity"], row["timestamp"]) == (5, 1.5, 2.0, MS)
        assert (row["is_buyer_maker"], row["order_type"], row["source"]) == (True, None, "archive")


@pytest.mark.parametrize("digits", ["", "000"])
def test_klines(tmp_path: Path, digits: str) -> None:
    end = "999" if digits else ""
    line = f"{MS}{digits},1.0,4.0,0.5,2.0,10.5,{MS + 59_999}{end},21.25,7,6.5,13.5,0"
    write_archive(tmp_path, "BTCUSDT-1m-2025-11-20", [line])
    (archive,) = found(tmp_path, "binance", "1m")
    (rows,) = kline_rows(archive, "1m", 99)
    assert rows.schema == TABLES["klines"].schema
    (row,) = rows.to_pylist()
    assert (row["open_time"], row["close_time"], row["event_time"]) == (MS, MS + 59_999, MS + 59_999)
    assert [row[name] for name in ("open", "high", "low", "close", "volume")] == [1.0, 4.0, 0.5, 2.0, 10.5]
    assert (row["quote_volume"], row["trades"], row["taker_buy_volume"]) == (21.25, 7, 6.5)
    assert (row["interval"], row["closed"], row["first_id"]) == ("1m", True, None)


def test_files_are_found_by_name_and_time(tmp_path: Path) -> None:
    for name in ("2025-11-19", "2025-11-20", "2025-11-21", "2025-11", "2025-12"):
        write_archive(tmp_path / "deep" / "er", f"BTCUSDT-aggTrades-{name}", [])
    write_archive(tmp_path, "ETHUSDT-aggTrades-2025-11-20", [])
    write_archive(tmp_path, "BTCUSDT-trades-2025-11-20", [])
    (tmp_path / "BTCUSDT-aggTrades-notes.txt").touch()
    names = [archive.path.stem for archive in found(tmp_path, "binance", "trades", days=2)]
    assert names == ["BTCUSDT-aggTrades-2025-11", "BTCUSDT-aggTrades-2025-11-20", "BTCUSDT-aggTrades-2025-11-21"]
    month = found(tmp_path, "binance", "trades")[0]
    assert (month.end_ms - month.start_ms) / 86_400_000 == 30


def test_a_csv_out_of_its_zip_and_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "BTCUSDT-aggTrades-2025-11-20.csv").write_text(f"7,90000.1,1,1,1,{MS},true\n")
    (archive,) = found(tmp_path, "binanceusdm", "trades")
    assert [len(rows) for rows in trade_rows(archive, "trades", 1)] == [1]
    archive.path.write_text("")
    assert list(trade_rows(archive, "trades", 1)) == []


def test_large_files_come_in_pieces(tmp_path: Path) -> None:
    lines = [f"{n},90000.10,0.005,{n},{n},{MS + n},true" for n in range(200_000)]
    write_archive(tmp_path, "BTCUSDT-aggTrades-2025-11-20", lines)
    (archive,) = found(tmp_path, "binanceusdm", "trades")
    pieces = [rows.num_rows for rows in trade_rows(archive, "trades", 1)]
    assert sum(pieces) == 200_000
    assert max(pieces) < 150_000


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([f"7,90000.1,1,1,1,{MS},True,True"], "8 columns"),
        ([f"7,abc,1,1,1,{MS},true"], "cannot be read"),
        ([f"7,90000.1,1,1,1,{MS},true", "8"], "cannot be read"),
    ],
)
def test_what_is_no_such_file_is_named(tmp_path: Path, lines: list[str], says: str) -> None:
    path = write_archive(tmp_path, "BTCUSDT-aggTrades-2025-11-20", lines)
    (archive,) = found(tmp_path, "binanceusdm", "trades")
    with pytest.raises(ArchiveError, match=says) as error:
        list(trade_rows(archive, "trades", 1))
    assert str(path) in str(error.value)


def test_damage_is_named(tmp_path: Path) -> None:
    lines = [f"{n},90000.10,0.005,{n},{n},{MS + n},true" for n in range(5000)]
    path = write_archive(tmp_path, "BTCUSDT-aggTrades-2025-11-20", lines)
    (archive,) = found(tmp_path, "binanceusdm", "trades")
    checksum = path.with_name(path.name + ".CHECKSUM")
    checksum.write_text(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")
    assert sum(len(rows) for rows in trade_rows(archive, "trades", 1)) == 5000
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:3000] + b"\0\0\0\0" + whole[3004:]):
        path.write_bytes(damaged)
        with pytest.raises(ArchiveError, match="download it again"):
            list(trade_rows(archive, "trades", 1))
        checksum.unlink(missing_ok=True)
        with pytest.raises(ArchiveError, match="download it again"):
            list(trade_rows(archive, "trades", 1))
