//! Clauses that the parser knows and the planner reads over: a statement that has one would be
//! answered as if it had not. It is refused.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    GroupByExpr, GroupByWithModifier, Query, Select, TableFactor, Visit, Visitor,
};

use crate::error::{Error, Result};

/// Refuses a statement with such a clause.
///
/// # Errors
/// When it has one.
pub(super) fn refuse<S: Visit>(statement: &S) -> Result<()> {
    match statement.visit(&mut Search) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(Overlooked { clause, instead }) => Err(Error::usage(format!(
            "the query: {clause} is not supported; {instead}"
        ))),
    }
}

/// A clause, and what to write instead.
struct Overlooked {
    clause: &'static str,
    instead: &'static str,
}

/// The clause, where it is there.
fn when(is_there: bool, clause: &'static str, instead: &'static str) -> Option<Overlooked> {
    is_there.then_some(Overlooked { clause, instead })
}

/// The first of these that is there.
fn first<const N: usize>(all: [Option<Overlooked>; N]) -> ControlFlow<Overlooked> {
    match all.into_iter().flatten().next() {
        None => ControlFlow::Continue(()),
        Some(found) => ControlFlow::Break(found),
    }
}

const LEAVE_OUT: &str = "leave it out";
const SAMPLE: &str = "choose rows with WHERE or LIMIT";

struct Search;

impl Visitor for Search {
    type Break = Overlooked;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Overlooked> {
        first([
            when(
                !query.locks.is_empty(),
                "FOR UPDATE or SHARE",
                "a query locks nothing",
            ),
            when(
                query.for_clause.is_some(),
                "FOR XML or JSON",
                "the form of the result is --format",
            ),
            when(
                query.settings.is_some(),
                "SETTINGS",
                "options are those of the command line",
            ),
            when(
                query.format_clause.is_some(),
                "FORMAT",
                "the form of the result is --format",
            ),
        ])
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Overlooked> {
        let (GroupByExpr::All(modifiers) | GroupByExpr::Expressions(_, modifiers)) =
            &select.group_by;
        let modifier = |is: fn(&GroupByWithModifier) -> bool| modifiers.iter().any(is);
        first([
            when(
                modifier(|one| matches!(one, GroupByWithModifier::Rollup)),
                "WITH ROLLUP",
                "write GROUP BY ROLLUP (…)",
            ),
            when(
                modifier(|one| matches!(one, GroupByWithModifier::Cube)),
                "WITH CUBE",
                "write GROUP BY CUBE (…)",
            ),
            when(
                !modifiers.is_empty(),
                "a modifier after GROUP BY",
                "write GROUP BY ROLLUP, CUBE or GROUPING SETS (…)",
            ),
            when(
                select.select_modifiers.is_some(),
                "a modifier after SELECT",
                LEAVE_OUT,
            ),
            when(
                select.exclude.is_some(),
                "EXCLUDE after the columns",
                "write it after the asterisk: SELECT * EXCLUDE (…)",
            ),
            when(select.prewhere.is_some(), "PREWHERE", "write WHERE"),
            when(
                !select.connect_by.is_empty(),
                "CONNECT BY",
                "write WITH RECURSIVE",
            ),
            when(
                select.value_table_mode.is_some(),
                "SELECT AS",
                "name the columns",
            ),
        ])
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<Overlooked> {
        match table {
            TableFactor::Table {
                name: _,
                alias: _,
                args,
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
            } => first([
                when(sample.is_some(), "TABLESAMPLE", SAMPLE),
                when(
                    !partitions.is_empty(),
                    "PARTITION after a table",
                    "choose days and series with WHERE: WHERE date = '20260203'",
                ),
                when(
                    version.is_some(),
                    "a version of a table",
                    "the archive has the newest only",
                ),
                when(
                    *with_ordinality,
                    "WITH ORDINALITY",
                    "write row_number() OVER ()",
                ),
                when(json_path.is_some(), "a path after a table", LEAVE_OUT),
                when(
                    !with_hints.is_empty() || !index_hints.is_empty(),
                    "a hint after a table",
                    LEAVE_OUT,
                ),
                when(
                    args.as_ref().is_some_and(|args| args.settings.is_some()),
                    "SETTINGS",
                    LEAVE_OUT,
                ),
            ]),
            TableFactor::Derived { sample, .. } => {
                first([when(sample.is_some(), "TABLESAMPLE", SAMPLE)])
            }
            TableFactor::Function {
                with_ordinality, ..
            } => first([when(
                *with_ordinality,
                "WITH ORDINALITY",
                "write row_number() OVER ()",
            )]),
            _ => ControlFlow::Continue(()),
        }
    }
}
