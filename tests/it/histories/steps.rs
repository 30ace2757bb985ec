//! What can happen in a history, and how histories are drawn from a seed.
//!
//! A step names what it is about, so that a list of steps means the same when others are left out
//! of it: what it needs may be missing then, and it does nothing.

use std::fmt;

use super::content::{COLLECTORS, Content, DAYS, Harm, MOST_ROWS, Part, SYMBOLS, Spec, series};
use crate::support::run::NOW;

/// A run of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    Compact,
    /// `compact --salvage`
    Salvage,
    /// `compact --force`
    Force,
    /// `compact --accept-loss`
    AcceptLoss,
    Verify,
    Prune,
    Clean,
    Retry,
    /// `quarantine retry --salvage`
    RetrySalvage,
    Discard,
    /// `import` of what stands in the archive.
    Adopt,
    /// `import --from` the folder of this number.
    Import(u32),
}

impl Command {
    pub fn args(self, foreign: &str) -> Vec<&str> {
        let catch_up = ["compact", "--mode", "catch-up", "--now", NOW];
        match self {
            Self::Compact => catch_up.to_vec(),
            Self::Salvage => [&catch_up[..], &["--salvage"]].concat(),
            Self::Force => [&catch_up[..], &["--force"]].concat(),
            Self::AcceptLoss => [&catch_up[..], &["--accept-loss"]].concat(),
            Self::Verify => vec!["verify"],
            Self::Prune => vec!["prune", "--keep-days", "0", "--now", NOW],
            Self::Clean => vec!["clean", "--older-than", "0s"],
            Self::Retry => vec!["quarantine", "retry", "--now", NOW],
            Self::RetrySalvage => vec!["quarantine", "retry", "--salvage", "--now", NOW],
            Self::Discard => vec!["quarantine", "discard", "--exchange", "binance", "--yes"],
            Self::Adopt => vec!["import"],
            Self::Import(_) => vec!["import", "--from", foreign],
        }
    }

    /// Whether it is a compaction of all days that are over.
    pub fn compacts(self) -> bool {
        matches!(
            self,
            Self::Compact | Self::Salvage | Self::Force | Self::AcceptLoss
        )
    }

    /// Whether there must be an archive already.
    pub fn needs_archive(self) -> bool {
        !self.compacts() && !matches!(self, Self::Import(_))
    }
}

/// Where a collector's files of a symbol lie.
fn folder(spec: &Spec) -> String {
    format!("{}{}", COLLECTORS[spec.collector], series(spec.symbol))
}

/// What lies in a spool besides its files. Those with a content hold a good Parquet file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Odd {
    /// As macOS makes it: `Icon\r`.
    Icon,
    /// A text whose name has a tab.
    Tab,
    /// A text whose name is not UTF-8.
    NotText,
    /// A Parquet file whose name has a line feed.
    ParquetWithLineFeed,
    /// A Parquet file whose name is not UTF-8.
    ParquetNotText,
    /// What a writer has not finished.
    Unfinished,
    Hidden,
    AppleDouble,
    /// A Parquet file that belongs to no series.
    Stray,
    /// A link to the spool itself.
    Loop,
}

impl Odd {
    /// The name, below the folder of the series or the spool.
    pub fn name(self, content: &Content) -> Vec<u8> {
        let (id, day) = (content.spec.id, DAYS[content.spec.day].1);
        let folder = folder(&content.spec);
        let name = match self {
            Self::Icon => "Icon\r".to_owned(),
            Self::Tab => format!("a\t{id}.txt"),
            Self::NotText => format!("n{id}?.txt"),
            Self::ParquetWithLineFeed => format!("{day}_{id}\n.parquet"),
            Self::ParquetNotText => format!("{day}_{id}?.parquet"),
            Self::Unfinished => format!("{day}_{id}.parquet.tmp"),
            Self::Hidden => format!(".{day}_{id}.parquet"),
            Self::AppleDouble => format!("._{day}_{id}.parquet"),
            Self::Stray => return format!("stray-{id}.parquet").into_bytes(),
            Self::Loop => "loop".to_owned(),
        };
        let not_text = |byte| if byte == b'?' { 0xff } else { byte };
        format!("{folder}/{name}")
            .into_bytes()
            .into_iter()
            .map(not_text)
            .collect()
    }

    /// Whether it is never input, and nothing that a run would speak of.
    pub fn is_silent(self) -> bool {
        matches!(self, Self::Unfinished | Self::Hidden | Self::AppleDouble)
    }

    /// Whether rows may be lost to the archive by it: it has to show in the exit code of a
    /// compaction, unless its rows are taken in.
    pub fn holds_rows(self) -> bool {
        matches!(
            self,
            Self::ParquetWithLineFeed | Self::ParquetNotText | Self::Stray
        )
    }
}

/// What becomes of a published partition behind the program's back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blow {
    /// The folder of the day is deleted.
    Vanish,
    /// Data and meta of an older generation are put back.
    RollBack,
    /// A byte of the data is turned over.
    Flip,
    MetaGone,
    ReceiptGone,
    /// What is kept of a file in QUARANTINE is deleted.
    KeptGone,
    /// `error.json` has kinds of errors that only a later version knows.
    LaterEntries,
}

impl Blow {
    /// Whether it is about what is kept, not about what is published.
    pub fn is_on_quarantine(self) -> bool {
        matches!(self, Self::KeptGone | Self::LaterEntries)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A file arrives, or other bytes under its name.
    Put {
        name: String,
        content: Content,
    },
    /// Other bytes of the same size come in the place of a file; its time stays.
    InPlace {
        name: String,
        content: Content,
    },
    Touch {
        name: String,
    },
    Rename {
        from: String,
        to: String,
    },
    Copy {
        from: String,
        to: String,
    },
    Remove {
        name: String,
    },
    Odd {
        odd: Odd,
        content: Content,
    },
    /// Everything odd is taken away.
    Tidy,
    /// Another program's archive of one day appears beside; [`Command::Import`] takes it over.
    Foreign {
        content: Content,
    },
    Run(Command),
    /// The process is killed at the n-th crash point.
    Kill(Command, u32),
    Strike {
        part: Part,
        blow: Blow,
    },
    /// What was done to a partition is undone from a backup.
    Restore {
        part: Part,
    },
}

impl Step {
    /// What happens, without names and contents.
    pub fn kind(&self) -> String {
        match self {
            Self::Put { content, .. } if !content.is_good() => "put a bad file".to_owned(),
            Self::Odd { odd, .. } => format!("odd {odd:?}"),
            Self::Strike { blow, .. } => format!("strike {blow:?}"),
            Self::Run(command) => format!("run {command:?}"),
            Self::Kill(command, _) => format!("kill {command:?}"),
            _ => self
                .to_string()
                .split("  ")
                .next()
                .unwrap_or_default()
                .to_owned(),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |name: &str| name.replace("exchange=binance/stream=bbo/symbol=", "");
        let run = |command: &Command| {
            command
                .args("FOREIGN")
                .join(" ")
                .replace(&format!(" --now {NOW}"), "")
        };
        match self {
            Self::Put { name, content } => write!(f, "put       {} = {content}", short(name)),
            Self::InPlace { name, content } => write!(
                f,
                "in place  {} = {content}; size and time stay",
                short(name)
            ),
            Self::Touch { name } => write!(f, "touch     {}", short(name)),
            Self::Rename { from, to } => write!(f, "rename    {} to {}", short(from), short(to)),
            Self::Copy { from, to } => write!(f, "copy      {} to {}", short(from), short(to)),
            Self::Remove { name } => write!(f, "remove    {}", short(name)),
            Self::Odd { odd, content } => write!(f, "odd       {odd:?} beside {content}"),
            Self::Tidy => f.write_str("tidy      odd names are taken away"),
            Self::Foreign { content } => {
                write!(f, "foreign   an archive of another program, with {content}")
            }
            Self::Run(command) => write!(f, "run       qlc {}", run(command)),
            Self::Kill(command, nth) => {
                write!(f, "kill      qlc {} at crash point {nth}", run(command))
            }
            Self::Strike { part, blow } => write!(f, "strike    {part}: {blow:?}"),
            Self::Restore { part } => write!(f, "restore   {part}"),
        }
    }
}

/// A generator of numbers that are the same on every machine (`SplitMix64`).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `sides`.
    pub fn below(&mut self, sides: usize) -> usize {
        (self.next() % sides.max(1) as u64) as usize
    }

    fn one_in(&mut self, sides: usize) -> bool {
        self.below(sides) == 0
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// Draws the steps of a kind; nothing where there is nothing yet that they could be about.
type Draw = fn(&mut Draft) -> Option<Vec<Step>>;

/// The kinds of steps: name, weight, how they are drawn.
const KINDS: &[(&str, usize, Draw)] = &[
    ("arrive", 30, |d| Some(d.arrivals(false))),
    ("arrive-bad", 8, |d| Some(d.arrivals(true))),
    ("compact", 25, |_| Some(ran(Command::Compact))),
    ("salvage", 6, |_| Some(ran(Command::Salvage))),
    ("force", 3, |_| Some(ran(Command::Force))),
    ("accept-loss", 1, |_| Some(ran(Command::AcceptLoss))),
    ("verify", 4, |_| Some(ran(Command::Verify))),
    ("prune", 8, |_| Some(ran(Command::Prune))),
    ("clean", 4, |_| Some(ran(Command::Clean))),
    ("retry", 3, |_| Some(ran(Command::Retry))),
    ("retry-salvage", 3, |_| Some(ran(Command::RetrySalvage))),
    ("discard", 1, |_| Some(ran(Command::Discard))),
    ("kill", 12, Draft::kill),
    ("witness", 12, Draft::witness),
    ("name-spool", 3, Draft::name_spool),
    ("relay", 6, Draft::relay),
    ("touch", 5, |d| {
        d.file().map(|(name, _)| vec![Step::Touch { name }])
    }),
    ("rename", 4, |d| {
        d.moved().map(|(from, to)| vec![Step::Rename { from, to }])
    }),
    ("copy", 3, |d| {
        d.moved().map(|(from, to)| vec![Step::Copy { from, to }])
    }),
    ("remove", 2, Draft::remove),
    ("rot-values", 4, Draft::rot_values),
    ("rot-bytes", 4, Draft::rot_bytes),
    ("replace", 4, Draft::replace),
    ("mend", 6, Draft::mend),
    ("odd", 4, Draft::odd),
    ("import", 3, Draft::import),
    ("adopt", 1, |_| Some(ran(Command::Adopt))),
    ("vanish", 2, |d| d.strike(Blow::Vanish)),
    ("roll-back", 2, |d| d.strike(Blow::RollBack)),
    ("flip", 2, |d| d.strike(Blow::Flip)),
    ("meta-gone", 2, |d| d.strike(Blow::MetaGone)),
    ("receipt-gone", 1, |d| d.strike(Blow::ReceiptGone)),
    ("kept-gone", 1, |d| d.strike(Blow::KeptGone)),
    ("later-entries", 1, |d| d.strike(Blow::LaterEntries)),
    ("restore", 4, Draft::restore),
];

/// What files may be besides the plainest ones, to be left out like a kind of steps.
const FLAVOURS: [&str; 4] = ["midnight", "no-seq", "deep-folders", "collectors"];

/// The names of all kinds of steps and flavours of files.
pub fn kinds() -> Vec<&'static str> {
    KINDS
        .iter()
        .map(|(name, _, _)| *name)
        .chain(FLAVOURS)
        .collect()
}

/// A history of the kinds that are `meant`, which follows from the seed.
pub fn history(seed: u64, meant: impl Fn(&str) -> bool) -> Vec<Step> {
    let mut draft = Draft {
        dice: Dice::new(seed),
        flavours: FLAVOURS.map(&meant),
        files: Vec::new(),
        ids: 0,
        marks: 0,
        struck: Vec::new(),
        odd: false,
        several: false,
        later: false,
        witnessed: Vec::new(),
    };
    // A third of the histories has two collectors, and some of these only later.
    let mut dice = Dice::new(!seed);
    draft.several = draft.flavours[3] && dice.one_in(3);
    draft.later = draft.several && dice.one_in(4);
    draft.several &= !draft.later;
    let kinds: Vec<&(&str, usize, Draw)> = KINDS.iter().filter(|(name, ..)| meant(name)).collect();
    let weight = kinds.iter().map(|(_, weight, _)| weight).sum();
    let length = 5 + draft.dice.below(14);
    let mut steps = draft.arrivals(false);
    // What is drawn may not be possible yet.
    for _ in 0..10 * length {
        if steps.len() >= length {
            break;
        }
        let mut at = draft.dice.below(weight);
        let kind = kinds.iter().find(|(_, weight, _)| {
            let here = at < *weight;
            at = at.wrapping_sub(*weight);
            here
        });
        if let Some((_, _, draw)) = kind {
            steps.extend(draw(&mut draft).unwrap_or_default());
        }
    }
    steps
}

fn ran(command: Command) -> Vec<Step> {
    vec![Step::Run(command)]
}

/// What a history is drawn with: which files there may be.
struct Draft {
    dice: Dice,
    flavours: [bool; FLAVOURS.len()],
    files: Vec<(String, Content)>,
    ids: u32,
    marks: u8,
    struck: Vec<Part>,
    odd: bool,
    /// Whether the spool has two collectors, or is to have them later.
    several: bool,
    later: bool,
    /// The files of which both have rows.
    witnessed: Vec<u32>,
}

impl Draft {
    fn spec(&mut self) -> Spec {
        self.ids += 1;
        let (dice, [midnight, no_seq, ..]) = (&mut self.dice, self.flavours);
        let collector = if self.several { 1 + dice.below(2) } else { 0 };
        let (rows, day) = (
            1 + dice.below(MOST_ROWS as usize) as u32,
            dice.below(DAYS.len()),
        );
        Spec {
            id: self.ids,
            collector,
            symbol: dice.of(&[0, 0, 1]),
            day,
            events: rows,
            from: 0,
            rows,
            midnight: rows > 1 && day + 1 < DAYS.len() && dice.one_in(5) && midnight,
            seq: !(dice.one_in(5) && no_seq),
            per_group: if dice.one_in(2) {
                rows
            } else {
                1 + dice.below(rows as usize) as u32
            },
            hashed: dice.one_in(2),
        }
    }

    /// Where a file may lie; the day that its name tells, if any, is that of its rows.
    fn name(&mut self, spec: &Spec) -> String {
        let (folder, (day, dashed)) = (folder(spec), DAYS[spec.day]);
        let (n, layout) = (self.dice.below(1_000), self.dice.below(10));
        let id = spec.id;
        match layout {
            0..=4 => format!("{folder}/{dashed}_{id:02}-{n:03}.parquet"),
            5 | 6 => format!("{folder}/date={day}/part-{id:02}-{n:03}.parquet"),
            7 if self.flavours[2] => format!("{folder}/date={dashed}/part-{id:02}-{n:03}.parquet"),
            8 if self.flavours[2] => {
                format!("{folder}/date={day}/hour=03/part-{id:02}-{n:03}.parquet")
            }
            _ => format!("{folder}/part-{id:02}-{n:03}.parquet"),
        }
    }

    fn put(&mut self, name: String, content: Content) -> Step {
        self.files.retain(|(known, _)| *known != name);
        self.files.push((name.clone(), content));
        Step::Put { name, content }
    }

    fn arrivals(&mut self, bad: bool) -> Vec<Step> {
        let count = if bad { 1 } else { 1 + self.dice.below(3) };
        let one = |_| {
            let spec = self.spec();
            let name = self.name(&spec);
            let content = Content::good(spec);
            let content = if bad { self.harmed(content) } else { content };
            self.put(name, content)
        };
        (0..count).map(one).collect()
    }

    /// What had one collector without a name is to have two: its files become those of the first.
    fn name_spool(&mut self) -> Option<Vec<Step>> {
        if !self.later {
            return None;
        }
        (self.several, self.later) = (true, false);
        let named = |(from, content): &mut (String, Content)| {
            content.spec.collector = 1;
            let to = format!("{}{from}", COLLECTORS[1]);
            let from = std::mem::replace(from, to.clone());
            Step::Rename { from, to }
        };
        Some(self.files.iter_mut().map(named).collect())
    }

    /// The other collector's file of the same events, of which it may have missed some.
    fn witness(&mut self) -> Option<Vec<Step>> {
        let (_, content) = self.file()?;
        let spec = content.spec;
        // Numbers that qlc gave tell nobody that two rows are one event; and no collector has a row
        // twice.
        if spec.collector == 0 || !spec.seq || self.witnessed.contains(&spec.id) {
            return None;
        }
        self.witnessed.push(spec.id);
        // It begins on the day that its name may tell.
        let first = if spec.midnight {
            spec.events / 2
        } else {
            spec.events
        };
        let from = self.dice.below(first as usize) as u32;
        let rows = 1 + self.dice.below((spec.events - from) as usize) as u32;
        let other = Spec {
            collector: 3 - spec.collector,
            from,
            rows,
            per_group: 1 + self.dice.below(rows as usize) as u32,
            hashed: self.dice.one_in(2),
            ..spec
        };
        let name = self.name(&other);
        let content = Content::good(other);
        let content = if self.dice.one_in(4) {
            self.harmed(content)
        } else {
            content
        };
        Some(vec![self.put(name, content)])
    }

    /// Of a day that one collector gave in several files one leaves; then one of the other comes.
    fn relay(&mut self) -> Option<Vec<Step>> {
        let (name, content) = self.good_file()?;
        let collector = content.spec.collector;
        if collector == 0 {
            return None;
        }
        let part = self.dice.of(&content.parts());
        let compact = Step::Run(Command::Compact);
        let mut steps = vec![self.late(part, Some(collector), false), compact.clone()];
        self.files.retain(|(known, _)| *known != name);
        steps.push(Step::Remove { name });
        let bad = self.dice.one_in(2);
        steps.extend([self.late(part, Some(3 - collector), bad), compact]);
        Some(steps)
    }

    fn harmed(&mut self, content: Content) -> Content {
        let group = Harm::Group(self.dice.below(content.spec.groups() as usize) as u32);
        let harm = self.dice.of(&[group, group, Harm::Footer, Harm::Cut]);
        content.harmed(harm)
    }

    fn mark(&mut self) -> u8 {
        self.marks += 1;
        self.marks
    }

    fn file(&mut self) -> Option<(String, Content)> {
        (!self.files.is_empty()).then(|| self.files[self.dice.below(self.files.len())].clone())
    }

    fn good_file(&mut self) -> Option<(String, Content)> {
        self.file().filter(|(_, content)| content.is_good())
    }

    fn moved(&mut self) -> Option<(String, String)> {
        let (from, content) = self.file()?;
        let to = self.name(&content.spec);
        self.files.retain(|(known, _)| *known != to);
        self.files.push((to.clone(), content));
        Some((from, to))
    }

    fn remove(&mut self) -> Option<Vec<Step>> {
        let (name, _) = self.file()?;
        self.files.retain(|(known, _)| *known != name);
        Some(vec![Step::Remove { name }])
    }

    /// Bytes change so that the file still reads, with other rows. Every row changes: the rows of a
    /// file of which only some are others would be, by turns, rows that are known and rows that are
    /// new.
    fn rot_values(&mut self) -> Option<Vec<Step>> {
        let (name, content) = self.good_file()?;
        let rotten = content.rotten_values(self.mark());
        Some(vec![Step::InPlace {
            name,
            content: rotten,
        }])
    }

    /// Bytes change so that the file does not read, with its time or another one.
    fn rot_bytes(&mut self) -> Option<Vec<Step>> {
        let (name, content) = self.good_file()?;
        let rotten = self.harmed(content);
        let in_place = rotten.harm != Harm::Cut && !self.dice.one_in(3);
        if in_place {
            return Some(vec![Step::InPlace {
                name,
                content: rotten,
            }]);
        }
        Some(vec![self.put(name, rotten)])
    }

    fn replace(&mut self) -> Option<Vec<Step>> {
        let (name, content) = self.good_file()?;
        let other = content.other_values(self.mark());
        Some(if self.dice.one_in(3) {
            vec![Step::InPlace {
                name,
                content: other,
            }]
        } else {
            vec![self.put(name, other)]
        })
    }

    /// The good file comes where a bad one is, or was.
    fn mend(&mut self) -> Option<Vec<Step>> {
        let bad: Vec<(String, Content)> = self
            .files
            .iter()
            .filter(|(_, c)| !c.is_good())
            .cloned()
            .collect();
        let (name, content) = bad.get(self.dice.below(bad.len()))?.clone();
        let good = content.harmed(Harm::None);
        let in_place = content.harm != Harm::Cut && self.dice.one_in(2);
        if in_place {
            return Some(vec![Step::InPlace {
                name,
                content: good,
            }]);
        }
        let name = if self.dice.one_in(4) {
            self.name(&good.spec)
        } else {
            name
        };
        Some(vec![self.put(name, good)])
    }

    #[expect(
        clippy::unnecessary_wraps,
        reason = "one of those that are drawn, some of which find nothing to do"
    )]
    fn odd(&mut self) -> Option<Vec<Step>> {
        self.odd = !self.odd;
        if !self.odd {
            return Some(vec![Step::Tidy]);
        }
        let content = Content::good(self.spec());
        let odd = self.dice.of(&[
            Odd::Icon,
            Odd::Tab,
            Odd::NotText,
            Odd::ParquetWithLineFeed,
            Odd::ParquetNotText,
            Odd::Unfinished,
            Odd::Hidden,
            Odd::AppleDouble,
            Odd::Stray,
            Odd::Loop,
        ]);
        Some(vec![Step::Odd { odd, content }])
    }

    /// A day that another program compacted, with the file that it was made of in the spool or not.
    #[expect(
        clippy::unnecessary_wraps,
        reason = "one of those that are drawn, some of which find nothing to do"
    )]
    fn import(&mut self) -> Option<Vec<Step>> {
        let content = Content::good(Spec {
            midnight: false,
            seq: true,
            ..self.spec()
        });
        let import = Command::Import(content.spec.id);
        let mut steps = vec![Step::Foreign { content }, Step::Run(import)];
        if self.dice.one_in(3) {
            steps.insert(1, Step::Kill(import, 1 + self.dice.below(20) as u32));
        }
        if self.dice.one_in(2) {
            let name = self.name(&content.spec);
            let put = self.put(name, content);
            steps.insert(self.dice.below(3), put);
        }
        Some(steps)
    }

    #[expect(
        clippy::unnecessary_wraps,
        reason = "one of those that are drawn, some of which find nothing to do"
    )]
    fn kill(&mut self) -> Option<Vec<Step>> {
        use Command::{
            AcceptLoss, Adopt, Clean, Compact, Discard, Force, Prune, Retry, RetrySalvage, Salvage,
        };
        let rare = [
            Salvage,
            Prune,
            Retry,
            RetrySalvage,
            Discard,
            Clean,
            Force,
            AcceptLoss,
            Adopt,
        ];
        let command = if self.dice.one_in(2) {
            Compact
        } else {
            self.dice.of(&rare)
        };
        let most = if command.compacts() { 45 } else { 20 };
        Some(vec![Step::Kill(command, 1 + self.dice.below(most) as u32)])
    }

    /// A blow, often with what makes it hurt: an older generation, sources that have left the
    /// spool, a late file.
    fn strike(&mut self, blow: Blow) -> Option<Vec<Step>> {
        let (_, content) = self.file()?;
        let part = self.dice.of(&content.parts());
        self.struck.push(part);
        let mut steps = Vec::new();
        if blow == Blow::RollBack || blow.is_on_quarantine() || self.dice.one_in(2) {
            steps.push(Step::Run(Command::Compact));
        }
        if blow == Blow::RollBack || blow.is_on_quarantine() {
            steps.extend([
                self.late(part, None, blow.is_on_quarantine()),
                Step::Run(Command::Compact),
            ]);
        }
        if self.dice.one_in(3) {
            steps.push(Step::Run(Command::Prune));
        }
        steps.push(Step::Strike { part, blow });
        if self.dice.one_in(2) {
            steps.push(Step::Run(Command::Verify));
        }
        if self.dice.one_in(2) {
            let bad = blow.is_on_quarantine() && self.dice.one_in(2);
            steps.extend([self.late(part, None, bad), Step::Run(Command::Compact)]);
        }
        Some(steps)
    }

    /// One more file of a partition, of a certain collector or of any.
    fn late(&mut self, part: Part, by: Option<usize>, bad: bool) -> Step {
        let spec = self.spec();
        let spec = Spec {
            collector: by.unwrap_or(spec.collector),
            symbol: part.symbol,
            day: part.day,
            midnight: false,
            ..spec
        };
        let name = self.name(&spec);
        let content = Content::good(spec);
        let content = if bad { self.harmed(content) } else { content };
        self.put(name, content)
    }

    fn restore(&mut self) -> Option<Vec<Step>> {
        let part = self.struck.pop()?;
        Some(vec![Step::Restore { part }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_history_and_all_kinds_are_drawn() {
        let drawn = |seed| history(seed, |_| true);
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7), drawn(8));
        assert!((0..50).all(|seed| drawn(seed).len() >= 5));
        let told: Vec<String> = (0..400)
            .flat_map(drawn)
            .map(|step| step.to_string())
            .collect();
        for word in [
            "put",
            "in place",
            "touch",
            "rename",
            "copy",
            "remove",
            "odd",
            "tidy",
            "foreign",
            "run",
            "kill",
            "put       collector=b/",
        ] {
            assert!(told.iter().any(|line| line.starts_with(word)), "{word}");
        }
        assert!(
            history(1, |kind| kind == "touch")
                .iter()
                .all(|step| matches!(step, Step::Put { .. } | Step::Touch { .. }))
        );
        assert_eq!(SYMBOLS.len(), 2);
    }
}
