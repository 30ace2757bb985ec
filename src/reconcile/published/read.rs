//! The lines of a published file, each with the places of its values.

use std::{io::Read, ops::ControlFlow};

use csv::{ByteRecord, Position, Reader, ReaderBuilder};

use super::{
    account::{Content, FileAccount, PublishedFile, shown},
    container::{Member, Opened},
    layout::{First, Layout},
    row::Reject,
};
use crate::error::{Error, Kind, Result};

/// Lines at the beginning of a text among which a header or a row must be.
const LOOKED_AT: u64 = 10;
/// A piece of a text that is decoded at a time. What stands in the piece in which an error comes up
/// is lost.
const PIECE: usize = 32 << 10;
/// The same, of a text of which only the first lines are wanted: those before any error.
const FIRST_PIECE: usize = 512;

/// What becomes of a line: the account of its file, its number, where its values stand, and the
/// values.
pub(super) type Line<'a> = dyn FnMut(&mut FileAccount, u64, &Layout, &ByteRecord) -> Result<std::result::Result<(), Reject>>
    + 'a;

/// A file that is open, with what it holds.
///
/// # Errors
/// When it cannot be read, or holds nothing that is known.
pub(super) fn open(file: &PublishedFile) -> Result<(Opened, Content)> {
    let opened = Opened::of(file)?;
    let (mut found, mut why) = (None, None);
    let ending = opened.members(&mut |member| {
        let mut csv = reader(&mut *member.text, FIRST_PIECE);
        let mut record = ByteRecord::new();
        for _ in 0..LOOKED_AT {
            match csv.read_byte_record(&mut record) {
                Ok(true) => {}
                Ok(false) => break,
                Err(e) => {
                    why = Some(e.to_string());
                    break;
                }
            }
            if let Some(first) = First::of(&record, &member.name) {
                found = Some(first.layout().content());
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let why = why.or_else(|| ending.faults.into_iter().next());
    let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
    found.map(|content| (opened, content)).ok_or_else(|| {
        Error::new(
            Kind::BadInput,
            format!(
                "{}: holds no trades or klines as binance, bybit or okx publish them{why}",
                file.name
            ),
        )
    })
}

/// Calls `line` with every line of the file that may be a row of the symbol that the venue calls
/// `wire`. What is wrong with the others is noted in the account.
///
/// # Errors
/// When the disk fails, or `line` does.
pub(super) fn lines(
    opened: &Opened,
    wire: &str,
    account: &mut FileAccount,
    line: &mut Line<'_>,
) -> Result<()> {
    let ending = opened.members(&mut |member| {
        one(member, wire, account, line)?;
        Ok(ControlFlow::Continue(()))
    })?;
    for fault in ending.faults {
        if ending.is_cut {
            account.cut(fault);
        } else {
            account.fault(|| fault);
        }
    }
    Ok(())
}

fn one(
    member: &mut Member<'_>,
    wire: &str,
    account: &mut FileAccount,
    line: &mut Line<'_>,
) -> Result<()> {
    let place = if member.is_one_of_several {
        format!("{}, ", member.name)
    } else {
        String::new()
    };
    let mut csv = reader(&mut *member.text, PIECE);
    let mut record = ByteRecord::new();
    let (mut layout, mut looked_at) = (None, 0);
    loop {
        let before = csv.position().line();
        match csv.read_byte_record(&mut record) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(e) => {
                account.cut(format!("{place}after line {before}: {e}"));
                return Ok(());
            }
        }
        let number = record.position().map_or(before, Position::line);
        let layout = match layout {
            Some(layout) => layout,
            None => match First::of(&record, &member.name) {
                None => {
                    looked_at += 1;
                    account.rejected += 1;
                    account.fault(|| format!("{place}line {number}: neither a header nor a row"));
                    if looked_at == LOOKED_AT {
                        account.cut(format!("{place}line {number}: this is no list of trades"));
                        return Ok(());
                    }
                    continue;
                }
                Some(first) => {
                    let found = first.layout();
                    if let Some(why) = unfit(found, account.content, &member.name, wire) {
                        account.cut(format!("{place}line {number}: {why}"));
                        return Ok(());
                    }
                    layout = Some(found);
                    if matches!(first, First::Header(_)) {
                        continue;
                    }
                    found
                }
            },
        };
        if let Err(reject) = line(account, number, &layout, &record)? {
            account.rejected += 1;
            account.fault(|| format!("{place}line {number}: {}", reject.words(&record)));
        }
    }
}

/// Why a text is passed over.
fn unfit(found: Layout, content: Content, name: &str, wire: &str) -> Option<String> {
    if found.content() != content {
        return Some(format!(
            "this text holds {}, and not {} as the file's first one",
            found.content().name(),
            content.name()
        ));
    }
    let has_symbol = matches!(found, Layout::Trades(fields) if fields.symbol.is_some());
    let named = symbol_in(name).filter(|named| !named.eq_ignore_ascii_case(wire))?;
    (!has_symbol).then(|| {
        format!(
            "the rows do not tell their symbol, and {} is named for {}, and not for {wire}",
            shown(name.as_bytes()),
            shown(named.as_bytes())
        )
    })
}

/// The symbol in a name such as `BTCUSDT-aggTrades-2026-02-03.csv`.
fn symbol_in(name: &str) -> Option<&str> {
    let base = name.rsplit(['/', '\\']).next()?;
    let lower = base.to_ascii_lowercase();
    let mut ends = ["-aggtrades-", "-trades-", "-1m-"]
        .iter()
        .filter_map(|marker| lower.find(marker));
    base.get(..ends.next()?).filter(|symbol| !symbol.is_empty())
}

/// Lines end a record in any case: a quotation mark that is not closed would otherwise take in the
/// rest of the file.
fn reader<R: Read>(text: R, piece: usize) -> Reader<R> {
    ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .quoting(false)
        .buffer_capacity(piece)
        .from_reader(text)
}
