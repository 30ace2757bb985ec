//! Exit codes, decided here and nowhere else.
//!
//! | code | meaning |
//! | --- | --- |
//! | 0 | done, or nothing to do; another process that published first has done it too |
//! | 1 | something failed or was interrupted; `status --strict`: not everything is complete |
//! | 2 | the command line, the configuration or a statement is wrong |
//! | 3 | done, but something was quarantined, or files of the spool were ignored; `query`: files of the spool were left out |
//! | 4 | damage was found (`verify`, `inspect`, `import`); `prune` and `quarantine retry`: what must be proven could not be |
//! | 5 | whether a write to a bucket took effect is not known; the next run finds out |
//! | 6 | the archive and what the exchange published differ (`reconcile`) |
//!
//! Damage beats failure (it is certain, and no second run mends it), an unknown outcome beats a
//! known failure, and failure beats quarantine.

use std::process::ExitCode;

use crate::{
    clean,
    compact::{Action, InputSummary, Outcome, Outlook, RunSummary, Status},
    doctor::{Check, Level},
    error::{Error, Kind, Result},
    import,
    model::{
        coverage::Coverage,
        reconcile::{ReconcileRecord, ReconcileVerdict},
    },
    prune, quarantine, query,
};

/// The code by which a second Ctrl-C ends the process, as shells number a death by SIGINT.
pub(crate) const ON_SECOND_SIGNAL: i32 = 130;

/// How the program ends; the larger one is the one to report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    /// Done, or nothing to do.
    Done,
    /// The archive and what the exchange published differ.
    Differs,
    /// Done, but something was quarantined or ignored.
    Quarantined,
    /// Something failed.
    Failed,
    /// Whether something was done is not known.
    Unknown,
    /// The command line, the configuration or a statement is wrong.
    Usage,
    /// Damage was found.
    Damage,
}

impl Exit {
    /// After an error that ended a command.
    pub(crate) fn of_error(error: &Error) -> Self {
        match error.kind() {
            Kind::Usage => Self::Usage,
            Kind::Conflict => Self::Done,
            Kind::Unknown => Self::Unknown,
            Kind::BadInput
            | Kind::Damage
            | Kind::Proof
            | Kind::Io
            | Kind::Interrupted
            | Kind::Resources
            | Kind::Internal => Self::Failed,
        }
    }

    /// After a compaction.
    pub(crate) fn of_outcomes(outcomes: &[Outcome]) -> Self {
        let one = |outcome: &Outcome| match outcome.status {
            Status::Unknown => Self::Unknown,
            Status::Failed | Status::Interrupted => Self::Failed,
            _ if outcome.quarantined > 0 => Self::Quarantined,
            Status::Done
            | Status::UpToDate
            | Status::Completed
            | Status::LossAccepted
            | Status::LostRace => Self::Done,
        };
        outcomes.iter().map(one).max().unwrap_or(Self::Done)
    }

    /// After a look at the input: what could not be listed may be data that is missing, what is
    /// ignored is data that nobody takes in.
    pub(crate) fn of_input(input: &InputSummary) -> Self {
        if !input.unlisted.is_empty() {
            Self::Failed
        } else if !input.ignored.is_empty() {
            Self::Quarantined
        } else {
            Self::Done
        }
    }

    /// After a compaction and the look at its input.
    pub(crate) fn of_run(summary: &RunSummary) -> Self {
        Self::of_outcomes(&summary.outcomes).max(Self::of_input(&summary.input))
    }

    /// After a dry run: a partition that could not even be planned counts as failed, an intended
    /// quarantine does not count.
    pub(crate) fn of_outlooks(outlooks: &[Outlook]) -> Self {
        if outlooks
            .iter()
            .any(|outlook| outlook.action == Action::Fail)
        {
            Self::Failed
        } else {
            Self::Done
        }
    }

    /// After a search for damage that reported so many findings, and then ended.
    pub(crate) fn of_findings<T>(findings: usize, ended: &Result<T>) -> Self {
        match ended {
            _ if findings > 0 => Self::Damage,
            Ok(_) => Self::Done,
            // An archive too broken to be searched through is damaged.
            Err(error) if error.kind() == Kind::Damage => Self::Damage,
            Err(error) => Self::of_error(error),
        }
    }

    /// After a pruning: what is not proven any more is damage, wherever it lies.
    pub(crate) fn of_pruned(report: &prune::Report) -> Self {
        let all = report
            .files
            .iter()
            .map(|file| file.outcome)
            .chain(report.records.iter().map(|record| record.outcome));
        let worst = all.map(|outcome| match outcome {
            prune::Outcome::Unproven => Self::Damage,
            prune::Outcome::Failed => Self::Failed,
            prune::Outcome::Unknown => Self::Unknown,
            _ => Self::Done,
        });
        let is_short = report.stopped || !report.unlisted.is_empty();
        worst
            .chain(is_short.then_some(Self::Failed))
            .chain(report.error.as_ref().map(Self::of_error))
            .max()
            .unwrap_or(Self::Done)
    }

    /// After entries of QUARANTINE were tried again.
    pub(crate) fn of_retried(retried: &[quarantine::Retried]) -> Self {
        let one = |one: &quarantine::Retried| match one.tried {
            quarantine::Tried::TakenIn => Self::Done,
            quarantine::Tried::Salvaged | quarantine::Tried::QuarantinedAgain => Self::Quarantined,
            quarantine::Tried::Pending | quarantine::Tried::Refused => Self::Failed,
            quarantine::Tried::Unproven => Self::Damage,
        };
        retried.iter().map(one).max().unwrap_or(Self::Done)
    }

    /// After an examination.
    pub(crate) fn of_checks(checks: &[Check]) -> Self {
        if checks.iter().any(|check| check.level == Level::Problem) {
            Self::Failed
        } else {
            Self::Done
        }
    }

    /// After an import: what could not be adopted counts as failed, what does not read or
    /// contradicts its meta as damage.
    pub(crate) fn of_imported(imported: &[import::Imported]) -> Self {
        let one = |one: &import::Imported| match one.outcome {
            import::Outcome::Adopted
            | import::Outcome::Adoptable
            | import::Outcome::Completed
            | import::Outcome::Rewritten
            | import::Outcome::Rewritable
            | import::Outcome::UpToDate
            | import::Outcome::LostRace => Self::Done,
            import::Outcome::Unfit | import::Outcome::Refused | import::Outcome::Failed => {
                Self::Failed
            }
            import::Outcome::Damaged => Self::Damage,
            import::Outcome::Unknown => Self::Unknown,
        };
        imported.iter().map(one).max().unwrap_or(Self::Done)
    }

    /// After a look at the coverage; `strict` asks for it to be complete.
    pub(crate) fn of_coverage(coverage: &Coverage, strict: bool) -> Self {
        let is_known = coverage.unlisted.is_empty() && coverage.unread.is_empty();
        let is_fine = is_known && (!strict || coverage.is_complete());
        if is_fine { Self::Done } else { Self::Failed }
    }

    /// After a statement: an answer that lacks the rows of some files is not the whole one.
    pub(crate) fn of_answer(answer: query::Answer) -> Self {
        if answer.left_out > 0 {
            Self::Quarantined
        } else {
            Self::Done
        }
    }

    /// After a comparison with what the exchange published: a day that could not be compared, or
    /// with files that prove nothing, counts as failed.
    pub(crate) fn of_reconciled(records: &[ReconcileRecord]) -> Self {
        let one = |record: &ReconcileRecord| match record.verdict {
            ReconcileVerdict::Equal => Self::Done,
            ReconcileVerdict::Differs => Self::Differs,
            ReconcileVerdict::NotProven | ReconcileVerdict::NotCompared => Self::Failed,
        };
        records.iter().map(one).max().unwrap_or(Self::Done)
    }

    /// After a cleaning.
    pub(crate) fn of_swept(swept: &[clean::Swept]) -> Self {
        if swept.iter().any(|one| one.left == clean::Left::Failed) {
            Self::Failed
        } else {
            Self::Done
        }
    }

    /// The meaning, in words.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done, or nothing to do",
            Self::Failed => "something failed or was interrupted",
            Self::Usage => "the command line, the configuration or a statement is wrong",
            Self::Differs => "the archive and what the exchange published differ",
            Self::Quarantined => "done, but something was quarantined or ignored",
            Self::Damage => "damage was found",
            Self::Unknown => "whether a write to a bucket took effect is not known",
        }
    }

    /// The number.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Quarantined => 3,
            Self::Damage => 4,
            Self::Unknown => 5,
            Self::Differs => 6,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{
            date::Date,
            partition::{Partition, Series},
        },
        storage::listing::{Ignored, Unlisted},
    };

    fn outcome(status: Status, quarantined: u64) -> Outcome {
        let series = Series {
            exchange: "binance".parse().unwrap(),
            stream: "bbo".parse().unwrap(),
            symbol: "btcusdt".parse().unwrap(),
        };
        let partition = Partition {
            series,
            date: Date::from_ymd(2026, 2, 3).unwrap(),
        };
        Outcome {
            quarantined,
            ..Outcome::without(&partition, status, "")
        }
    }

    #[test]
    fn one_table_of_codes() {
        let check = |outcomes: &[(Status, u64)], code: u8| {
            let all: Vec<_> = outcomes
                .iter()
                .map(|(status, n)| outcome(*status, *n))
                .collect();
            assert_eq!(Exit::of_outcomes(&all).code(), code, "{outcomes:?}");
        };
        check(&[], 0);
        check(
            &[
                (Status::Done, 0),
                (Status::UpToDate, 0),
                (Status::Completed, 0),
                (Status::LostRace, 0),
            ],
            0,
        );
        check(&[(Status::Done, 1), (Status::Done, 0)], 3);
        check(&[(Status::Done, 1), (Status::Failed, 0)], 1);
        check(&[(Status::Failed, 2)], 1);
        check(&[(Status::Interrupted, 0)], 1);
        check(
            &[(Status::Unknown, 0), (Status::Failed, 0), (Status::Done, 1)],
            5,
        );
    }

    #[test]
    fn input_that_nobody_takes_in_is_no_success() {
        let ignored = vec![Ignored {
            file: "a.parquet".to_owned(),
            reason: String::new(),
        }];
        let unlisted = vec![Unlisted {
            folder: "a".to_owned(),
            reason: String::new(),
        }];
        let check = |ignored: &[Ignored], unlisted: &[Unlisted], status, code: u8| {
            let input = InputSummary {
                files: 1,
                ignored: ignored.to_vec(),
                unlisted: unlisted.to_vec(),
                pending: Vec::new(),
            };
            let summary = RunSummary {
                outcomes: vec![outcome(status, 0)],
                input,
            };
            assert_eq!(Exit::of_run(&summary).code(), code, "{summary:?}");
        };
        check(&[], &[], Status::Done, 0);
        check(&ignored, &[], Status::Done, 3);
        check(&ignored, &unlisted, Status::Done, 1);
        check(&ignored, &[], Status::Failed, 1);
    }

    #[test]
    fn errors_by_their_kind() {
        let of = |kind| Exit::of_error(&Error::new(kind, "x")).code();
        assert_eq!(
            [
                Kind::Usage,
                Kind::Conflict,
                Kind::Io,
                Kind::Interrupted,
                Kind::Damage
            ]
            .map(of),
            [2, 0, 1, 1, 1]
        );
        let ended = |kind| Err::<(), _>(Error::new(kind, "x"));
        assert_eq!(Exit::of_findings(0, &Ok(())).code(), 0);
        assert_eq!(Exit::of_findings(1, &Ok(())).code(), 4);
        assert_eq!(Exit::of_findings(1, &ended(Kind::Io)).code(), 4);
        assert_eq!(Exit::of_findings(0, &ended(Kind::Io)).code(), 1);
        assert_eq!(Exit::of_findings(0, &ended(Kind::Damage)).code(), 4);
    }
}
