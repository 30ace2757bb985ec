//! The named queries and their parameters.

use std::fmt::Write;

use crate::query::Named;

/// The text of `qlc query --list`.
pub(crate) fn named(queries: &[Named]) -> String {
    let width = queries
        .iter()
        .flat_map(|q| q.params.iter().map(|p| p.name.len()))
        .max()
        .unwrap_or_default();
    let mut text = String::new();
    for query in queries {
        let _ = writeln!(text, "{}\n    {}", query.name, query.description);
        for param in query.params {
            let default = match param.default {
                "" => String::new(),
                value => format!(" [default: {value}]"),
            };
            let _ = writeln!(
                text,
                "    --param {:width$}  {}{default}",
                param.name, param.description
            );
        }
    }
    let _ = writeln!(text, "Run one with: qlc query --name NAME [--param K=V]…");
    text
}
