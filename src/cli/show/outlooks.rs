//! What a dry run says: per partition what would be done, why, and the plan.

use std::fmt::Write;

use super::parts::{bytes, count, grouped, idle, rows};
use crate::{
    compact::{Action, Outlook},
    model::{count, plain::line},
};

/// The text of a dry run.
pub(crate) fn outlooks(outlooks: &[Outlook]) -> String {
    if outlooks.is_empty() {
        return "nothing to do, because there is no partition to look at\n".to_owned();
    }
    let (resting, planned): (Vec<_>, Vec<_>) =
        outlooks.iter().partition(|o| o.action == Action::Nothing);
    let mut text = String::new();
    for outlook in planned {
        let _ = writeln!(
            text,
            "{} {}, because {}",
            outlook.action, outlook.partition, outlook.reason
        );
        if outlook.files > 0 {
            let _ = write!(
                text,
                "  {}, {}, {}, {}, {}",
                count(outlook.files, "file"),
                rows(outlook.rows),
                bytes(outlook.bytes),
                count(outlook.groups, "group"),
                passes(outlook.passes)
            );
            if outlook.quarantined > 0 {
                let _ = write!(
                    text,
                    ", {} to QUARANTINE",
                    count(outlook.quarantined, "file")
                );
            }
            text.push('\n');
        }
        for file in &outlook.unusable {
            let _ = writeln!(text, "  to QUARANTINE: {}", line(file));
        }
        for line in &outlook.plan {
            let _ = writeln!(text, "    {line}");
        }
        for (name, plan) in [
            ("logical plan", &outlook.logical_plan),
            ("physical plan", &outlook.physical_plan),
        ] {
            let Some(plan) = plan else { continue };
            let _ = writeln!(text, "  {name}");
            for line in plan.lines() {
                let _ = writeln!(text, "    {line}");
            }
        }
    }
    text.push_str(&idle(
        resting
            .iter()
            .map(|o| (&o.partition, o.reason.clone()))
            .collect(),
    ));
    let parts: Vec<_> = grouped(outlooks, |o| o.action.to_string())
        .iter()
        .map(|(action, group)| format!("{} {action}", count::grouped(group.len() as u64)))
        .collect();
    let _ = writeln!(
        text,
        "{}: {}; a dry run changes nothing",
        count(outlooks.len(), "partition"),
        parts.join(", ")
    );
    text
}

fn passes(passes: usize) -> String {
    match passes {
        0 => "no merge".to_owned(),
        1 => "1 pass".to_owned(),
        n => format!("{n} passes"),
    }
}
