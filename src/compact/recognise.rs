//! Which files hold rows that the archive has already, and which bytes are in QUARANTINE:
//! recognised by rows and bytes.
//!
//! ```text
//! what is equal                                    what follows
//! name, size, time of a source or of a copy of one  known, but unread: enough to do nothing, not to build; of a salvaged
//!                                                   source only the bytes that QUARANTINE has
//! number and row hash of a source's rows            known, whatever its name, size and time
//! a row group of a damaged version of the file      known, that row group
//! sha256 of an entry of QUARANTINE                  quarantined; other bytes of the same name, size and time are not
//! ```

use std::collections::{BTreeMap, HashMap};

use futures::{StreamExt, TryStreamExt, stream};

use super::{
    decide::{Feeding, Identity, Knowledge, SpoolFile, identity, is_copy, is_source},
    prepare::Probed,
};
use crate::{
    archive::quarantine::SeriesEntries,
    error::Result,
    file::{claims::Claims, examine::examine_apart, fault::Problem, reader::Handle},
    model::{
        layout,
        quarantine::{Entry, ErrorType, Extent, Fault},
        receipt::{Content, FileCopy, KnownRows, Receipt, Source, UnitsHash},
        row_hash::RowHash,
        sources::SourceNames,
    },
    storage::store::Store,
};

/// Files that are read at a time to find out what rows they have: the answers of a bucket are
/// waited for side by side. What is in memory of them is limited where they are read.
const READ_AT_A_TIME: usize = 8;

/// What a partition has, as far as files are held against it by name.
#[derive(Debug)]
pub struct Against<'a> {
    /// What QUARANTINE has.
    entries: &'a SeriesEntries,
    sources: &'a [Source],
    names: SourceNames,
    copies: HashMap<&'a str, Vec<&'a FileCopy>>,
}

impl<'a> Against<'a> {
    /// `receipt` is that of the generation that stands, if one does: only then do name, size and
    /// time count. It may name very many files.
    #[must_use]
    pub fn of(receipt: Option<&'a Receipt>, entries: &'a SeriesEntries) -> Self {
        let sources = receipt.map_or(&[][..], |receipt| &receipt.sources);
        let mut copies: HashMap<&str, Vec<&FileCopy>> = HashMap::new();
        for copy in receipt.into_iter().flat_map(|receipt| &receipt.copies) {
            copies.entry(&copy.name).or_default().push(copy);
        }
        Self {
            entries,
            sources,
            names: SourceNames::of(sources),
            copies,
        }
    }

    fn sources<'s>(&'s self, name: &str) -> impl Iterator<Item = &'a Source> + Clone + use<'a, 's> {
        self.names.find(self.sources, name)
    }
}

/// A file that feeds the partition, and whether it can be used.
#[derive(Debug)]
pub struct FeedingFile {
    /// The file, and what is known of its rows.
    pub mark: Feeding,
    /// What it claims of them, or why it cannot be used.
    pub claims: std::result::Result<Claims, Fault>,
}

/// What can be told of a file without reading its rows.
///
/// # Errors
/// When a file is out of reach.
pub async fn by_name(spool: &Store, file: SpoolFile, against: &Against<'_>) -> Result<Feeding> {
    let (key, size) = (&file.object.key.clone(), file.object.size);
    let entries = || against.entries.of_file(key, size).map(|(_, entry)| entry);
    let whole: Vec<&Entry> = entries().filter(|e| e.may_be_of(key, size)).collect();
    let salvaged: Vec<&Entry> = entries()
        .filter(|entry| entry.extent() == Extent::Groups)
        .collect();
    let knowledge = Knowledge::New {
        known_groups: Vec::new(),
    };
    let mut feeding = Feeding {
        file,
        knowledge,
        content: None,
        lost: Vec::new(),
        compared: None,
    };
    if !whole.is_empty() || !salvaged.is_empty() {
        let (sha256, _) = spool.sha256(&feeding.file.object.key).await?;
        if let Some(entry) = salvaged.iter().find(|entry| entry.sha256 == sha256) {
            feeding.lost = entry
                .salvaged
                .as_ref()
                .map(|s| s.row_groups.clone())
                .unwrap_or_default();
        }
        if whole.iter().any(|entry| entry.sha256 == sha256) {
            feeding.knowledge = Knowledge::Quarantined;
            return Ok(feeding);
        }
    }
    // Of a file of which a part was taken in before its good copy came, the receipt has two
    // sources.
    let mut named = against
        .sources(key)
        .filter(|source| is_source(source, &feeding.file));
    let is_meant = |source: &&Source| source.is_partial() != feeding.lost.is_empty();
    let source = named.clone().find(is_meant).or_else(|| named.next());
    let mut copies = against.copies.get(key.as_str()).into_iter().flatten();
    let original = copies
        .find(|copy| is_copy(copy, &feeding.file))
        .map(|copy| copy.copy_of.as_str());
    // A name that had other rows before tells nothing: the file is read then.
    let of_copy = || {
        let mut named = against.sources(original?);
        let first = named.next()?;
        named
            .all(|other| other.content() == first.content())
            .then_some(first)
    };
    let source = source.or_else(of_copy);
    if let Some(source) = source {
        if !feeding.lost.is_empty() && !source.is_partial() {
            // It was archived whole, and was salvaged for another day since: here it counts no
            // more.
            feeding.knowledge = Knowledge::Quarantined;
            return Ok(feeding);
        }
        // A part of a damaged file is archived: these bytes may be its good copy unless QUARANTINE
        // knows them.
        if source.is_partial() && feeding.lost.is_empty() {
            return Ok(feeding);
        }
        feeding.knowledge = Knowledge::Known {
            content: source.content(),
            unread: true,
        };
    }
    Ok(feeding)
}

/// Reads the files that are not known by name and holds their rows against those of the receipt.
///
/// # Errors
/// When a file is out of reach.
pub async fn by_rows(
    spool: &Store,
    files: Vec<(Feeding, Probed)>,
    receipt: Option<&Receipt>,
    elsewhere: &BTreeMap<Identity, Content>,
) -> Result<Vec<FeedingFile>> {
    let known = receipt.map(Receipt::known);
    let reads = files.into_iter().map(|(feeding, probed)| {
        let other = elsewhere.get(&identity(&feeding.file)).copied();
        read(spool, feeding, probed.claims, known.as_ref(), other)
    });
    stream::iter(reads)
        .buffered(READ_AT_A_TIME)
        .try_collect()
        .await
}

async fn read(
    spool: &Store,
    mut mark: Feeding,
    claims: std::result::Result<Claims, Fault>,
    known: Option<&KnownRows>,
    elsewhere: Option<Content>,
) -> Result<FeedingFile> {
    let claims = match claims {
        // Where nothing is archived that it could be held against, it is read when it is compacted.
        Ok(claims)
            if matches!(mark.knowledge, Knowledge::New { .. })
                && (known.is_some() || elsewhere.is_some()) =>
        {
            claims
        }
        other => {
            return Ok(FeedingFile {
                mark,
                claims: other,
            });
        }
    };
    let examined = match examine_apart(Handle::new(spool, &mark.file.object), &claims).await {
        Ok(examined) => examined,
        Err(Problem::Bad(fault)) => {
            return Ok(FeedingFile {
                mark,
                claims: Err(fault),
            });
        }
        Err(Problem::Storage(error)) => return Err(error),
        // What else there is to say of it is found out when it is read to be compacted.
        Err(_) => {
            return Ok(FeedingFile {
                mark,
                claims: Ok(claims),
            });
        }
    };
    let content = content_of(&claims, examined.row_hash);
    mark.content = Some(content);
    if let Some(archived) =
        elsewhere.filter(|archived| !content.is_of(*archived) && mark.lost.is_empty())
    {
        let fault = changed_in_place(&other_rows(content, archived));
        return Ok(FeedingFile {
            mark,
            claims: Err(fault),
        });
    }
    // Rows that qlc numbers have no counterpart in another collector's, so a file without numbers
    // is known whoever has it now.
    let collector = layout::collector_of(&mark.file.object.key).filter(|_| claims.has_seq);
    let groups = &examined.row_groups;
    let known_groups = known.map(|known| match claims.lost {
        Some(_) => known.from_any(collector, groups),
        None => known.from_partial(
            collector,
            &mark.file.object.key,
            mark.file.object.size,
            groups,
        ),
    });
    let known_groups = known_groups.unwrap_or_default();
    let archived = known.and_then(|known| known.find(collector, content));
    mark.knowledge = match archived {
        Some(content) => Knowledge::Known {
            content,
            unread: false,
        },
        None => Knowledge::New { known_groups },
    };
    Ok(FeedingFile {
        mark,
        claims: Ok(examined.claims),
    })
}

/// What a file with this row hash is known by; rows that do not read count.
fn content_of(claims: &Claims, row_hash: RowHash) -> Content {
    Content {
        rows: claims.rows + claims.lost.as_ref().map_or(0, |lost| lost.rows),
        row_hash,
        units: UnitsHash::of(&claims.units()),
    }
}

fn other_rows(found: Content, archived: Content) -> String {
    if (found.rows, found.row_hash) == (archived.rows, archived.row_hash) {
        return "its columns have other scales or units than those that were archived from it"
            .to_owned();
    }
    format!(
        "it has {} rows with hash {}, {} with {} were archived from it",
        found.rows, found.row_hash, archived.rows, archived.row_hash
    )
}

/// What is wrong with a file whose rows were archived, and which has others now under the same
/// name, size and time.
#[must_use]
pub fn changed_in_place(what: &str) -> Fault {
    let what = format!(
        "it has the name, size and time of a file whose rows are archived, but changed since: {what}"
    );
    Fault::new(ErrorType::SourceChanged, what)
}

/// What [`still_has`] says of several files, read side by side; of one whose footer does not read,
/// what is wrong with that.
///
/// # Errors
/// When a file is out of reach.
pub async fn still_have<'a>(
    spool: &Store,
    files: impl IntoIterator<
        Item = (
            &'a SpoolFile,
            &'a std::result::Result<Claims, Fault>,
            Content,
        ),
    >,
) -> Result<Vec<std::result::Result<(), String>>> {
    let reads: Vec<_> = files
        .into_iter()
        .map(|(file, claims, content)| async move {
            match claims {
                Ok(claims) => still_has(spool, file, claims, content).await,
                Err(fault) => Ok(Err(fault.to_string())),
            }
        })
        .collect();
    stream::iter(reads)
        .buffered(READ_AT_A_TIME)
        .try_collect()
        .await
}

/// Whether a file that only name, size and time know has the rows that its source had. If not, what
/// is wrong with it.
///
/// # Errors
/// When the file is out of reach.
pub async fn still_has(
    spool: &Store,
    file: &SpoolFile,
    claims: &Claims,
    content: Content,
) -> Result<std::result::Result<(), String>> {
    match examine_apart(Handle::new(spool, &file.object), claims).await {
        Ok(examined) => {
            let found = content_of(claims, examined.row_hash);
            Ok(if found.is_of(content) {
                Ok(())
            } else {
                Err(other_rows(found, content))
            })
        }
        Err(Problem::Storage(error)) => Err(error),
        Err(problem) => Ok(Err(problem.to_string())),
    }
}
