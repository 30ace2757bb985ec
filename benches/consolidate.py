"""NautilusTrader's own consolidation of the same quotes: its catalog of as many files as the workload has, made into one.

    consolidate.py make SPOOL CATALOG      its files of the quotes of a spool
    consolidate.py CATALOG nautilus[-rust] the consolidation, by its Python catalog or by its Rust one

Run by an interpreter that has the package (benches/requirements-nautilus.txt). Its files have no sequence number, no names and no
time but two, and are put behind one another as they are, with nothing sorted or checked; so it stands beside the peers and is none.
"""

import hashlib
import pathlib
import shutil
import subprocess
import sys

import measure

INSTRUMENT = "BTCUSDT.BINANCE"
# Where its two catalogs have quotes.
FOLDERS = {"nautilus": "quote_tick", "nautilus-rust": "quotes"}


def fragments(bench, spool):
    """The folder of its files of the quotes of a spool, made if it is not there."""
    folder = bench.args.data / f"nautilus-{spool.parent.name}"
    made_by = pathlib.Path(__file__).read_bytes() + (spool.parent / "made").read_bytes()
    stamp, mark = hashlib.sha256(made_by).hexdigest(), folder / "made"
    if not mark.exists() or mark.read_text() != stamp:
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([bench.args.nautilus, __file__, "make", spool, folder / "catalog"], check=True, stdout=subprocess.DEVNULL)
        mark.write_text(stamp)
    return folder / "catalog"


def run(bench, tool, spool, out):
    """Consolidates a copy; returns what was used, and the pattern of the result."""
    quotes = out / "catalog" / "data" / FOLDERS[tool] / INSTRUMENT
    shutil.copytree(fragments(bench, spool) / "data" / FOLDERS["nautilus"] / INSTRUMENT, quotes)
    used, _ = measure.run([bench.args.nautilus, __file__, out / "catalog", tool])
    if len(list(quotes.iterdir())) != 1:
        sys.exit(f"{tool} left {len(list(quotes.iterdir()))} files, not one")
    return used, quotes / "*.parquet"


def make(spool, catalog):
    """Its files of the quotes, file by file."""
    import numpy as np
    import pyarrow.parquet as pq
    from nautilus_trader.model.data import QuoteTick
    from nautilus_trader.model.identifiers import InstrumentId
    from nautilus_trader.model.objects import Price, Quantity
    from nautilus_trader.persistence.catalog import ParquetDataCatalog

    pathlib.Path(catalog).mkdir(parents=True)
    target = ParquetDataCatalog(str(catalog))
    instrument = InstrumentId.from_str(INSTRUMENT)
    for path in sorted(pathlib.Path(spool).rglob("*.parquet")):
        rows = pq.read_table(path, partitioning=None)
        prices, quantities = (
            [[kind(value, places) for value in np.asarray(rows[f"{side}_{what}"])] for side in ("bid", "ask")]
            for kind, places, what in ((Price, 1, "price"), (Quantity, 3, "qty"))
        )
        times = zip(rows["ts_event"].to_pylist(), rows["ts_recv"].to_pylist())
        quotes = [QuoteTick(instrument, *quote, *at) for quote, at in zip(zip(*prices, *quantities), times)]
        target.write_data(quotes, skip_disjoint_check=True)


def consolidate(catalog, tool):
    if tool == "nautilus-rust":
        from nautilus_trader.core.nautilus_pyo3 import ParquetDataCatalogV2

        ParquetDataCatalogV2(str(catalog)).consolidate_data("quotes", INSTRUMENT, ensure_contiguous_files=False)
    else:
        from nautilus_trader.model.data import QuoteTick
        from nautilus_trader.persistence.catalog import ParquetDataCatalog

        ParquetDataCatalog(str(catalog)).consolidate_data(QuoteTick, INSTRUMENT, ensure_contiguous_files=False)


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(*sys.argv[2:])
    else:
        consolidate(*sys.argv[1:])
