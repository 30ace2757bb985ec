//! `qlc verify`

use serde::Serialize;

use super::{history, stores};
use crate::{
    cli::{
        account::Account,
        args::{Format, Verify},
        console::{Console, Look, Out},
        exit::Exit,
        meaning,
        progress::ProgressTally,
        settings::Settings,
        show::{self, Checked, Misplaced},
        signals::Signals,
    },
    compact::{self, Rebuilt},
    error::{Error, Kind, Result},
    storage::store::Store,
    verify::{self, Options, Verdict, Verified},
};

/// Verifies, and compacts again for comparison where that was asked for.
pub(super) async fn run(
    typed: &Verify,
    settings: &Settings,
    console: &Console,
    signals: &Signals,
    account: &Account,
) -> Result<Exit> {
    account.allowed(settings.memory_limit);
    let options = meaning::verify(typed, settings)?;
    let archive = stores::present_archive(settings)?;
    let spool = typed
        .rebuild
        .then(|| stores::present_spool(settings))
        .transpose()?;
    stores::apart(spool.as_ref(), &archive)?;
    let begun = history::begin();
    let mut report = Report::new(console, typed.format);
    let ended = match &spool {
        None => checked(&archive, &options, signals, &mut |one| report.take(one)).await,
        Some(spool) => rebuilt(spool, &archive, &options, settings, signals, &mut report).await,
    };
    account.verified(&report.all, &report.misplaced);
    let (checked, misplaced) = report.finish(ended.is_ok())?;
    let findings: usize = checked.iter().map(|one| one.findings.len()).sum();
    let exit = Exit::of_findings(findings + misplaced.len(), &ended);
    if ended.is_ok() {
        let mode = match (typed.quick, typed.rebuild) {
            (true, _) => "quick",
            (false, true) => "rebuild",
            (false, false) => "full",
        };
        history::leave(
            &archive,
            settings,
            &begun,
            exit,
            history::of_verify(&options, mode, checked, &misplaced),
        )
        .await;
    }
    if let Err(error) = ended {
        console.line(&format!("qlc: {}", error.chain()));
        account.failed(error.chain());
    }
    Ok(exit)
}

/// What a verification tells, for the eyes of a person.
pub(super) enum Told {
    Partition(Checked),
    Misplaced(Misplaced),
}

/// Verifies and calls `each` with what is in no partition, and with every partition in their order.
pub(super) async fn checked(
    archive: &Store,
    options: &Options,
    signals: &Signals,
    each: &mut (dyn FnMut(Told) + Send),
) -> Result<()> {
    let stop = || signals.stop().asked();
    let _ = verify::run(archive, options, &stop, &mut |verdict| {
        each(match verdict {
            Verdict::Partition(verified) => Told::Partition(Checked::from(verified)),
            Verdict::Stray { place, finding } => Told::Misplaced(Misplaced {
                place: archive.show(&place),
                sound: false,
                findings: [finding],
            }),
        });
    })
    .await?;
    Ok(())
}

async fn rebuilt(
    spool: &Store,
    archive: &Store,
    options: &Options,
    settings: &Settings,
    signals: &Signals,
    report: &mut Report,
) -> Result<()> {
    // All are verified first: what a rebuild tells about a damaged partition is easier to read
    // beside its findings.
    let mut all = Vec::new();
    checked(archive, options, signals, &mut |told| match told {
        Told::Partition(one) => all.push(one),
        told @ Told::Misplaced(_) => report.take(told),
    })
    .await?;
    for mut one in all {
        if signals.stop().asked() {
            return Err(Error::new(
                Kind::Interrupted,
                "stopped as asked, before all partitions were rebuilt",
            ));
        }
        let again = compact::rebuild(
            spool,
            archive,
            &one.partition,
            settings.memory_limit,
            &settings.spill_dir,
        );
        match again.await {
            Ok(Rebuilt::Same) => {}
            Ok(Rebuilt::Differs { archived, rebuilt }) => one.find(format!(
                "compacted again from the spool it has sha256 {rebuilt}, but the archive has {archived}"
            )),
            Ok(Rebuilt::Impossible(why) | Rebuilt::SourceChanged(why)) => {
                report.console.line(&format!("{}: cannot be rebuilt: {why}", one.partition));
            }
            Err(error) => {
                // The other partitions can still be compared.
                report.console.line(&format!("qlc: {}: {}", one.partition, error.chain()));
                report.failed = Some(error);
            }
        }
        report.add(one);
    }
    report.failed.take().map_or(Ok(()), |_| {
        Err(Error::new(
            Kind::Io,
            "not every partition could be rebuilt; the lines above say which and why",
        ))
    })
}

impl Checked {
    fn find(&mut self, finding: String) {
        self.sound = false;
        self.findings.push(finding);
    }
}

impl From<&Verified> for Checked {
    fn from(verified: &Verified) -> Self {
        Self {
            partition: verified.partition.clone(),
            sound: verified.findings.is_empty(),
            rows: verified.rows,
            bytes: verified.bytes,
            seconds: verified.seconds,
            findings: verified.findings.clone(),
        }
    }
}

/// Where verified partitions go: JSON at once, text at the end.
struct Report {
    console: Console,
    tally: ProgressTally,
    format: Format,
    out: Out,
    all: Vec<Checked>,
    misplaced: Vec<Misplaced>,
    failed: Option<Error>,
}

impl Report {
    fn new(console: &Console, format: Format) -> Self {
        let (tally, out) = (ProgressTally::new(console), console.out());
        Self {
            console: console.clone(),
            tally,
            format,
            out,
            all: Vec::new(),
            misplaced: Vec::new(),
            failed: None,
        }
    }

    fn take(&mut self, told: Told) {
        match told {
            Told::Partition(one) => self.add(one),
            Told::Misplaced(one) => {
                self.print(&one);
                self.misplaced.push(one);
            }
        }
    }

    fn print(&mut self, one: &impl Serialize) {
        if self.format == Format::Json
            && let Err(error) = self.out.json(one)
        {
            tracing::error!("{}", error.chain());
        }
    }

    fn add(&mut self, one: Checked) {
        self.tally.count(one.rows, one.bytes);
        self.print(&one);
        self.all.push(one);
    }

    /// Prints what is left to print; returns what was verified. That there was nothing is only said
    /// of an archive that was looked through.
    fn finish(mut self, looked_through: bool) -> Result<(Vec<Checked>, Vec<Misplaced>)> {
        self.tally.finish();
        if self.format == Format::Text
            && (looked_through || !self.all.is_empty() || !self.misplaced.is_empty())
        {
            self.out.lines(&show::verified(
                &self.all,
                &self.misplaced,
                Look::of_stdout(),
                self.console.lists_all(),
            ));
        }
        self.out.finish()?;
        Ok((self.all, self.misplaced))
    }
}
