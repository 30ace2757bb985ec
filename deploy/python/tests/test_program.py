"""What the program is asked for, and what it says when it fails."""

import shutil
from pathlib import Path

import pytest

from qlc_archive import Archive, BinaryError


def test_coverage_is_what_status_says(archive: Archive) -> None:
    days = archive.coverage("bbo")
    assert [(day.exchange, day.symbol) for day in days if day.state != "complete"] == [("binance", "ethusdt")]
    [bad] = [day for day in days if day.state != "complete"]
    assert bad.quarantined == 1 and bad.gaps and bad.command is not None and bad.command.startswith("qlc quarantine list")


def test_verify_finds_damage_as_a_result(archive: Archive, demo: Path, qlc: Path, tmp_path: Path) -> None:
    assert all(day.sound for day in archive.verify())
    copy = tmp_path / "copy"
    shutil.copytree(demo / "archive", copy)
    [data] = copy.glob("exchange=okx/stream=bbo/symbol=btcusdt/date=*/data.parquet")
    with data.open("r+b") as file:
        file.seek(5000)
        file.write(b"x")
    found = Archive(copy, binary=qlc).verify(exchange="okx", quick=True)
    assert [(day.stream, day.sound) for day in found] == [("bbo", False), ("trade", True), ("trade", True)]
    assert "meta.json says" in found[0].findings[0]
    shutil.copy(data, copy / "exchange=okx/loose.parquet")
    with pytest.warns(UserWarning, match=r"exchange=okx/loose\.parquet: a Parquet file in no partition"):
        assert Archive(copy, binary=qlc).verify(exchange="okx", quick=True) == found


def test_errors_have_the_message_of_the_program(archive: Archive, demo: Path) -> None:
    with pytest.raises(BinaryError, match="is no name for a stream") as raised:
        archive.verify("b b")
    assert raised.value.exit_code == 2
    with pytest.raises(BinaryError, match="cannot be run: No such file") as missing:
        Archive(demo / "archive", binary="/nowhere/qlc").verify()
    assert missing.value.exit_code is None
