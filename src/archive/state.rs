//! What an archive holds of a partition: the only judge of it.
//!
//! [`inspect`] fetches the facts, as many as it is asked for; [`judge`] decides on them. Every verb
//! maps the [`State`] to words of its own, and none decides by other rules. A [`Published`]
//! partition is made only here and in [`super::commit`].

use std::{fmt, sync::Arc};

use bytes::Bytes;

use super::{
    history::Generation,
    partition::{PartitionHandle, PartitionObjects, Versions},
};
use crate::{
    error::{Error, Kind, Result},
    file::{fault::Problem, reader::Handle},
    model::{
        count,
        meta::Meta,
        receipt::Receipt,
        row_hash::{FOOTER_KEY, VERSION_KEY},
    },
    storage::store::Object,
};

/// How much of a partition is read to find out what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// `meta.json`, the receipt, and the size of the data.
    Documents,
    /// The footer of the data as well.
    Footer,
    /// All bytes of the data.
    Bytes,
}

/// A partition that is published: its receipt vouches for the data that stands, and `meta.json`
/// says the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    receipt: Box<Receipt>,
}

impl Published {
    pub(super) fn new(receipt: Receipt) -> Self {
        Self {
            receipt: Box::new(receipt),
        }
    }

    /// Its receipt.
    #[must_use]
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }
}

/// What a partition is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Nothing was ever published, or an operator accepted that it is lost.
    Empty,
    /// Data, receipt and `meta.json` agree.
    Published(Published),
    /// The data stands with its receipt; `meta.json` is absent, or that of another generation.
    Interrupted(Box<Receipt>),
    /// A published generation does not stand any more.
    Lost(Box<Loss>),
    /// Something stands that nothing vouches for.
    Unproven(Unproven),
}

impl State {
    /// The sha256 of the data that stands. It is that of its bytes where they were read.
    #[must_use]
    pub fn data_sha256(&self) -> Option<&str> {
        match self {
            Self::Empty | Self::Unproven(Unproven::MetaWithoutData | Unproven::OtherSize) => None,
            Self::Published(published) => Some(&published.receipt.outcome.sha256),
            Self::Interrupted(receipt) => Some(&receipt.outcome.sha256),
            Self::Lost(loss) => loss
                .standing
                .as_ref()
                .map(|standing| standing.outcome.sha256.as_str()),
            Self::Unproven(Unproven::NoReceipt(sha256)) => sha256.as_deref(),
        }
    }
}

/// A published generation that is gone, and what stands in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The number of the lost generation.
    pub generation: u64,
    /// The sha256 of its data.
    pub sha256: String,
    /// Its receipt, if that is there.
    pub newest: Option<Receipt>,
    /// The receipt of the older generation that stands.
    pub standing: Option<Receipt>,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self
            .newest
            .as_ref()
            .map(|receipt| format!(" of {}", count::rows(receipt.outcome.rows)));
        let rows = rows.unwrap_or_default();
        let number = self.generation;
        match &self.standing {
            None => write!(
                f,
                "generation {number}{rows} was published and its data.parquet is gone"
            )?,
            Some(standing) => write!(
                f,
                "generation {number}{rows} was published, but an older one of {} is in its place",
                count::rows(standing.outcome.rows)
            )?,
        }
        write!(f, " (sha256 {})", self.sha256)
    }
}

/// Why nothing vouches for what stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unproven {
    /// `meta.json` stands, its data does not, and no receipt tells of it.
    MetaWithoutData,
    /// No receipt is that of the data, whose sha256 this is, where it was read.
    NoReceipt(Option<String>),
    /// The data has another size than its receipt says.
    OtherSize,
}

impl fmt::Display for Unproven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MetaWithoutData => f.write_str("meta.json is there without its data.parquet"),
            Self::NoReceipt(None) => f.write_str("no receipt vouches for data.parquet"),
            Self::NoReceipt(Some(sha256)) => {
                write!(f, "no receipt vouches for data.parquet (sha256 {sha256})")
            }
            Self::OtherSize => f.write_str("data.parquet has another size than its receipt says"),
        }
    }
}

/// What to do about a partition that is neither published nor empty. One place says it, so that no
/// two commands contradict each other.
#[must_use]
pub fn advice(state: &State) -> Option<&'static str> {
    match state {
        State::Empty | State::Published(_) => None,
        State::Interrupted(_) => Some("qlc compact completes it"),
        State::Lost(_) => Some(
            "restore it from a backup; qlc compact builds it anew where the spool still has all of its rows, and goes on \
             without the others with --accept-loss",
        ),
        State::Unproven(Unproven::MetaWithoutData) => {
            Some("restore the data from a backup, or remove meta.json")
        }
        State::Unproven(_) => Some(
            "qlc verify tells what is wrong with it; qlc import adopts the data of another program; else restore it from a \
             backup, or move it away",
        ),
    }
}

/// The facts that a partition is judged by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartitionFacts {
    /// What is known of `data.parquet`, if it is there.
    pub data: Option<DataState>,
    /// What `meta.json` says; `Some(None)` where it cannot be understood.
    pub meta: Option<Option<Meta>>,
    /// The newest generation that was published.
    pub newest: Option<Generation>,
    /// Its receipt, where it was needed and is there.
    pub newest_receipt: Option<Receipt>,
    /// Where nothing stands and no mark either: the newest receipt of a version without marks.
    pub without_history: Option<Receipt>,
}

/// What is known of a `data.parquet`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataState {
    /// A receipt is that of this data.
    Vouched(Box<Receipt>),
    /// None is; its sha256, where it was read.
    Unvouched(Option<String>),
    /// The receipt that `meta.json` leads to is of data of another size.
    OtherSize,
}

/// Decides what a partition is.
#[must_use]
pub fn judge(facts: PartitionFacts) -> State {
    let PartitionFacts {
        data,
        meta,
        newest,
        newest_receipt,
        without_history,
    } = facts;
    let lost = |newest: &Generation, receipt: Option<Receipt>, standing: Option<Receipt>| {
        let sha256 = newest.sha256.clone()?;
        Some(State::Lost(Box::new(Loss {
            generation: newest.number,
            sha256,
            newest: receipt,
            standing,
        })))
    };
    match data {
        None => {
            if let Some(newest) = newest {
                return lost(&newest, newest_receipt, None).unwrap_or(State::Empty);
            }
            match without_history {
                Some(receipt) => State::Lost(Box::new(Loss {
                    generation: receipt.generation,
                    sha256: receipt.outcome.sha256.clone(),
                    newest: Some(receipt),
                    standing: None,
                })),
                None if meta.is_some() => State::Unproven(Unproven::MetaWithoutData),
                None => State::Empty,
            }
        }
        Some(DataState::OtherSize) => State::Unproven(Unproven::OtherSize),
        Some(DataState::Unvouched(sha256)) => State::Unproven(Unproven::NoReceipt(sha256)),
        Some(DataState::Vouched(receipt)) => {
            let is_newest = |newest: &Generation| {
                newest.sha256.as_deref() == Some(receipt.outcome.sha256.as_str())
                    || receipt.generation > newest.number
            };
            if let Some(newest) = newest.filter(|newest| !is_newest(newest))
                && let Some(state) = lost(&newest, newest_receipt, Some(receipt.as_ref().clone()))
            {
                return state;
            }
            // A meta.json of the same data that says something else is written again from the
            // receipt.
            if meta.flatten().is_some_and(|meta| meta == receipt.meta()) {
                State::Published(Published { receipt })
            } else {
                State::Interrupted(receipt)
            }
        }
    }
}

/// What a partition is, and which versions of its objects say so.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// What it is.
    pub state: State,
    /// The versions of its objects.
    pub versions: Versions,
    /// Its objects as they were listed.
    pub listed: PartitionObjects,
}

impl Inspection {
    /// The number that the next generation has.
    #[must_use]
    pub fn next_generation(&self) -> u64 {
        let standing = match &self.state {
            State::Published(published) => published.receipt().generation,
            State::Interrupted(receipt) => receipt.generation,
            State::Lost(loss) => loss.generation,
            State::Empty | State::Unproven(_) => 0,
        };
        self.listed
            .newest()
            .map_or(0, |newest| newest.number)
            .max(standing)
            + 1
    }

    /// Whether the partition is published and no mark says so: a version without marks, or one that
    /// wrote them last, published it.
    #[must_use]
    pub fn lacks_mark(&self) -> bool {
        let State::Published(published) = &self.state else {
            return false;
        };
        let sha256 = Some(published.receipt().outcome.sha256.as_str());
        !self
            .listed
            .generations
            .iter()
            .any(|generation| generation.sha256.as_deref() == sha256)
    }
}

/// The documents of a partition as they were read before.
#[derive(Debug, Clone)]
pub struct KnownDocuments {
    /// The bytes of `meta.json`, and which version of the object they are.
    pub meta: Option<(Bytes, Option<String>)>,
    /// The receipt that it leads to.
    pub receipt: Option<Arc<Receipt>>,
}

/// How often a partition is looked at anew because it was being published meanwhile.
const LOOKS: u32 = 5;

/// Finds out what a partition is.
///
/// # Errors
/// When the archive does not answer, or a receipt cannot be understood; [`Kind::Conflict`] when
/// other processes replaced its objects at every look.
pub async fn inspect(handle: &PartitionHandle, depth: Depth) -> Result<Inspection> {
    inspect_after(handle, depth, None).await
}

/// The same where the documents were read before. What they say counts if the data that stands
/// agrees; else they are read again.
///
/// # Errors
/// As [`inspect`].
pub async fn inspect_after(
    handle: &PartitionHandle,
    depth: Depth,
    mut before: Option<KnownDocuments>,
) -> Result<Inspection> {
    for _ in 0..LOOKS {
        let KnownDocuments { meta, receipt } = match before.take() {
            Some(documents) => documents,
            None => KnownDocuments {
                meta: handle.meta().await?,
                receipt: None,
            },
        };
        let listed = handle.list().await?;
        let versions = versions_of(&listed, meta.as_ref());
        let inspection = inspect_with(handle, listed, meta, receipt, depth).await;
        let settled = inspection
            .as_ref()
            .is_ok_and(|i| matches!(i.state, State::Empty | State::Published(_)));
        // What does not fit together, or was replaced while it was read, may be what another
        // process is publishing.
        if settled || versions == handle.versions().await? {
            return inspection;
        }
    }
    Err(Error::new(
        Kind::Conflict,
        format!(
            "{}: other processes keep publishing this partition",
            handle.partition()
        ),
    ))
}

/// The same of a partition whose objects are listed already.
///
/// # Errors
/// As [`inspect`].
pub async fn inspect_listed(
    handle: &PartitionHandle,
    listed: PartitionObjects,
    depth: Depth,
) -> Result<Inspection> {
    let meta = if listed.meta.is_some() {
        handle.meta().await?
    } else {
        None
    };
    inspect_with(handle, listed, meta, None, depth).await
}

fn versions_of(listed: &PartitionObjects, meta: Option<&(Bytes, Option<String>)>) -> Versions {
    Versions::of(
        listed.data.as_ref().map(|data| data.tag.clone()),
        meta.map(|(_, tag)| tag.clone()),
    )
}

async fn inspect_with(
    handle: &PartitionHandle,
    listed: PartitionObjects,
    meta: Option<(Bytes, Option<String>)>,
    receipt: Option<Arc<Receipt>>,
    depth: Depth,
) -> Result<Inspection> {
    let versions = versions_of(&listed, meta.as_ref());
    let mut facts = PartitionFacts {
        meta: meta.map(|(bytes, _)| Meta::from_json(&bytes).ok()),
        newest: listed.newest().cloned(),
        ..PartitionFacts::default()
    };
    if let Some(data) = &listed.data {
        let said = facts
            .meta
            .as_ref()
            .and_then(Option::as_ref)
            .map(|meta| meta.sha256.clone());
        facts.data = Some(data_of(handle, &listed, data, (said, receipt), depth).await?);
    }
    let standing = match &facts.data {
        Some(DataState::Vouched(receipt)) => Some(receipt.outcome.sha256.as_str()),
        _ => None,
    };
    // On a store that lets two writers publish at once, two generations have the newest number: the
    // one that stands counts.
    if let Some(newest) = &mut facts.newest
        && let Some(twin) = listed
            .generations
            .iter()
            .find(|g| g.number == newest.number && g.sha256.as_deref() == standing)
        && standing.is_some()
    {
        *newest = twin.clone();
    }
    match facts
        .newest
        .as_ref()
        .and_then(|newest| newest.sha256.as_deref())
    {
        Some(sha256) if standing != Some(sha256) => {
            facts.newest_receipt = handle.receipt(sha256).await.ok().flatten();
        }
        None if facts.newest.is_none() && listed.data.is_none() => {
            facts.without_history = handle.newest_without_history(&listed).await?;
        }
        _ => {}
    }
    Ok(Inspection {
        state: judge(facts),
        versions,
        listed,
    })
}

/// Which receipt is that of the data that stands; `said` is the sha256 that `meta.json` says, and
/// its receipt where that was read before.
async fn data_of(
    handle: &PartitionHandle,
    listed: &PartitionObjects,
    data: &Object,
    (said, before): (Option<String>, Option<Arc<Receipt>>),
    depth: Depth,
) -> Result<DataState> {
    let vouched = |receipt| DataState::Vouched(Box::new(receipt));
    if depth == Depth::Documents {
        // Without the bytes, the size tells which receipt it may be.
        let Some(sha256) = said else {
            for sha256 in &listed.receipts {
                let receipt = handle.receipt(sha256).await?;
                if let Some(receipt) = receipt.filter(|receipt| receipt.outcome.bytes == data.size)
                {
                    return Ok(vouched(receipt));
                }
            }
            return Ok(DataState::Unvouched(None));
        };
        return Ok(match handle.receipt(&sha256).await? {
            Some(receipt) if receipt.outcome.bytes == data.size => vouched(receipt),
            Some(_) => DataState::OtherSize,
            None => DataState::Unvouched(None),
        });
    }
    if depth == Depth::Footer
        && let Some(sha256) = said
        && let Some(receipt) = match before {
            Some(receipt) => Some(Arc::unwrap_or_clone(receipt)),
            None => handle.receipt(&sha256).await?,
        }
        && receipt.outcome.bytes == data.size
        && footer_agrees(handle, data, &receipt).await?
    {
        return Ok(vouched(receipt));
    }
    let (sha256, _) = handle.archive().sha256(&data.key).await?;
    let Some(receipt) = handle.receipt(&sha256).await? else {
        return Ok(DataState::Unvouched(Some(sha256)));
    };
    // The bytes are those that it names; whether it says of them what is true, only they can tell.
    if !footer_agrees(handle, data, &receipt).await? {
        let shown = handle.archive().show(&handle.receipt_key(&sha256));
        let what =
            format!("{shown}: contradicts the footer of data.parquet: restore it from a backup");
        return Err(Error::new(Kind::Damage, what));
    }
    Ok(vouched(receipt))
}

/// Whether the footer of archived data is that of the data that the receipt vouches for: it names
/// the row hash and the version.
async fn footer_agrees(handle: &PartitionHandle, data: &Object, receipt: &Receipt) -> Result<bool> {
    let meta = match Handle::new(handle.archive(), data).footer().await {
        Ok(meta) => meta,
        Err(Problem::Storage(error)) => return Err(error),
        Err(_) => return Ok(false),
    };
    let value = |key: &str| {
        let pairs = meta.file_metadata().key_value_metadata()?;
        pairs.iter().find(|p| p.key == key)?.value.clone()
    };
    if u64::try_from(meta.file_metadata().num_rows()).unwrap_or(0) != receipt.outcome.rows {
        return Ok(false);
    }
    if receipt.adopted {
        // Another program wrote the footer: no more can be asked of it.
        return Ok(true);
    }
    Ok(
        value(FOOTER_KEY) == Some(receipt.outcome.row_hash.to_string())
            && value(VERSION_KEY).as_deref() == Some(receipt.qlc_version.as_str()),
    )
}
