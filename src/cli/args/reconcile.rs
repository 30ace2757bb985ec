//! `qlc reconcile` as typed.

use std::path::PathBuf;

use clap::Args;

use super::{
    compact::SelectionArgs,
    shared::{Days, Format, Resources},
};

/// `qlc reconcile`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  qlc reconcile --exchange binance --symbol btcusdt --date 20260203 --with aggTrades.zip
  qlc reconcile --exchange binance --start 20260201 --end 20260228 --with ./published
  qlc reconcile --exchange binance --symbol btcusdt --date 20260203 --with ./published --take
  qlc reconcile --exchange binance --date 20260203 --download ./published \\
    --with 'https://HOST/daily/aggTrades/{SYMBOL}/{SYMBOL}-aggTrades-{YYYY-MM-DD}.zip'
  qlc reconcile --exchange binance --date 20260203 --download ./published

The last one takes the URL of the configuration, below [reconcile].

Files are known by their content: aggTrades, trades and klines of one minute of Binance, trades of
Bybit, trades and aggregated trades of OKX; as zip, csv.gz or csv. NAME.CHECKSUM beside NAME is
read as well. The exit code is 0 where all days are equal, 6 where one differs, and 1 where one
is not proven or not compared.")]
pub(crate) struct Reconcile {
    #[command(flatten)]
    pub(crate) days: Days,
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    /// The venue's files: a file, a folder of files whose names tell symbol and day, or a URL in
    /// which {SYMBOL}, {symbol}, {YYYY-MM-DD}, {YYYYMMDD}, {YYYY}, {MM} and {DD} stand for what they
    /// name; repeatable; without it, the URL of the exchange in the configuration, below [reconcile]
    #[arg(long, value_name = "FILE|D|URL")]
    pub(crate) with: Vec<String>,
    /// Fetch the files of URLs, and their CHECKSUM files, into this folder; what is there is not
    /// fetched again unless its CHECKSUM says otherwise
    #[arg(long, value_name = "D")]
    pub(crate) download: Option<PathBuf>,
    /// The largest file that is fetched, as in 500MB or 4GB
    #[arg(long, value_name = "SIZE", value_parser = crate::model::size::parse, default_value = "4GB", requires = "download")]
    pub(crate) download_limit: u64,
    /// Put rows that only the venue's files have into the spool, as a file of one more collector
    /// that is named after the exchange, such as binance-archive; the next compaction merges it
    #[arg(long)]
    pub(crate) take: bool,
    #[command(flatten)]
    pub(crate) resources: Resources,
    /// The form of the output: text, or one JSON object a line
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub(crate) format: Format,
}
