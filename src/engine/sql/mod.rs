//! One read-only statement over the tables of both stores, with values for its parameters.
//!
//! A parameter is written `$name` and is replaced in the parsed statement or in its plan by a
//! literal, so a value is never read as SQL. Only questions are accepted (SELECT, EXPLAIN, SHOW,
//! DESCRIBE), and one at a time.

pub mod claimed;
mod days;
mod file_rows;
pub mod functions;
mod literals;
mod overlooked;
mod parameters;
pub mod tables;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    ops::ControlFlow,
    panic::AssertUnwindSafe,
    path::Path,
    sync::Arc,
};

use arrow::{array::RecordBatch, datatypes::SchemaRef, error::ArrowError};
use datafusion::{
    common::{
        SchemaError, TableReference,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    error::{DataFusionError, Result as DfResult},
    execution::context::SQLOptions,
    logical_expr::LogicalPlan,
    physical_plan::{
        ExecutionPlan, SendableRecordBatchStream, execute_stream, sorts::sort::SortExec,
    },
    prelude::SessionContext,
    sql::{
        parser::{DFParserBuilder, Statement},
        sqlparser::{
            ast::{self, Value as Literal, ValueWithSpan, VisitMut, VisitorMut},
            dialect::GenericDialect,
            tokenizer::Span,
        },
    },
};
use futures::{FutureExt, StreamExt, future::BoxFuture};

use self::{
    claimed::{Held, OutOfOrder},
    tables::{Learned, LeftOut, Tables},
};
use super::{
    error::{causes, from_datafusion},
    session::{
        CATALOG, CountsOn, DEFAULT_SCHEMA, count_on, narrow, session_that_may_spill,
        trust_no_statistics,
    },
};
use crate::{
    error::{Error, Kind, Result},
    model::near::nearest,
    storage::{by_stream::Side, scratch, store::Store},
};

/// What is wrong with a text that has no statement.
pub const EMPTY: &str = "the query is empty: write a statement such as SELECT * FROM archive.meta";
/// What an error is about.
const QUERY: &str = "the query";
/// The part of the memory limit that operators may reserve; Parquet readers and the rows on their
/// way out take the rest.
const POOL_SHARE: u64 = 2;
/// The part of the memory limit that row groups may take as they are stored; of larger ones only
/// one is read at a time.
const GROUPS_SHARE: u64 = 4;

/// The value of a parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number with a fraction or an exponent; finite.
    Float(f64),
    /// Text.
    Text(String),
    /// What was typed: of the type that its place in the statement wants, text where none is known.
    Typed(String),
}

/// Whether a plan can travel.
pub type Travels = dyn Fn(&Arc<dyn ExecutionPlan>) -> bool + Send + Sync;

/// Runs a plan elsewhere.
pub type Runs = dyn Fn(Arc<dyn ExecutionPlan>) -> BoxFuture<'static, DfResult<SendableRecordBatchStream>>
    + Send
    + Sync;

/// Where the rows of statements are made, if not here.
#[derive(Clone)]
pub struct Remote {
    /// How many partitions a plan shall have.
    pub partitions: usize,
    /// Whether a plan can travel there.
    pub travels: Arc<Travels>,
    /// Runs a plan there.
    pub run: Arc<Runs>,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote")
            .field("partitions", &self.partitions)
            .finish_non_exhaustive()
    }
}

/// What a statement may use.
#[derive(Debug, Clone, Copy)]
pub struct Means<'a> {
    /// Bytes that the process may have resident.
    pub memory_limit: u64,
    /// Where sorts and aggregations that do not fit in memory are spilled.
    pub spill_dir: &'a Path,
    /// Where its rows are made, if not here.
    pub remote: Option<&'a Remote>,
    /// Whether `information_schema.columns` has the columns of every file, or only those of the
    /// oldest and the newest file of each series.
    pub all_columns: bool,
}

/// The rows of a statement, batch by batch. Its memory and its spilled files are given back when it
/// is dropped.
pub struct Rows {
    stream: SendableRecordBatchStream,
    /// What it takes to start over without relying on an order of rows; `None` once rows were
    /// returned, or where the plan relies on none.
    again: Option<Again>,
    ended: bool,
    /// Knows of which columns values may not fit.
    tables: Tables,
}

/// What it takes to begin a statement again.
struct Again {
    session: SessionContext,
    plan: LogicalPlan,
    threads: usize,
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows")
            .field("schema", &self.schema())
            .finish_non_exhaustive()
    }
}

impl Rows {
    /// The files of the spool that the answer lacks: they could not be read, or do not fit the
    /// table.
    #[must_use]
    pub fn left_out(&self) -> LeftOut {
        self.tables.left_out()
    }

    /// The columns.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        self.stream.schema()
    }

    /// The next batch that has rows; `None` after the last.
    ///
    /// # Errors
    /// When the query fails on the way; nothing follows then.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>> {
        while !self.ended {
            // A damaged file can make a Parquet reader panic: that is a bad file, not the end of
            // the process.
            match AssertUnwindSafe(self.stream.next()).catch_unwind().await {
                Ok(Some(Ok(batch))) if batch.num_rows() == 0 => {}
                Ok(Some(Ok(batch))) => {
                    self.again = None;
                    return Ok(Some(batch));
                }
                Ok(Some(Err(error))) => {
                    if let Some(Again {
                        session,
                        plan,
                        threads,
                    }) = self.again.take()
                        && begins_anew(&error)
                    {
                        count_on(&session, CountsOn::Nothing, threads);
                        let plan = physical(&session, plan)
                            .await
                            .map_err(|e| from_datafusion(e, QUERY))?;
                        let stream = execute_stream(plan, session.task_ctx());
                        self.stream = stream.map_err(|e| from_datafusion(e, QUERY))?;
                        continue;
                    }
                    self.ended = true;
                    return Err(failed(error, &self.tables));
                }
                Ok(None) => self.ended = true,
                Err(_) => {
                    self.ended = true;
                    let text = "a file could not be read, its reader panicked; `qlc verify` and `qlc inspect` find it";
                    return Err(Error::new(Kind::BadInput, text));
                }
            }
        }
        Ok(None)
    }
}

/// Plans `sql` over both stores and begins to run it. `params` are the values of all its
/// parameters, without the `$`.
///
/// # Errors
/// When the statement is wrong, is none that only reads, lacks values or is given ones it does not
/// use, or asks about a store that is not there; when a store cannot be listed.
pub async fn rows(
    spool: &Store,
    archive: &Store,
    sql: &str,
    params: &BTreeMap<String, Value>,
    means: Means<'_>,
) -> Result<Rows> {
    let Means {
        memory_limit,
        spill_dir,
        remote,
        all_columns,
    } = means;
    let mut statement = parse(sql)?;
    check_read_only(&statement)?;
    bind(&mut statement, params)?;
    let typed = params.iter().filter_map(|(name, value)| match value {
        Value::Typed(text) => Some((name.clone(), text.as_str())),
        _ => None,
    });
    let typed: BTreeMap<String, &str> = typed.collect();
    if let Some(sql) = inner(&mut statement) {
        overlooked::refuse(sql)?;
        literals::mark(sql);
    }

    let _ = scratch::sweep(spill_dir);
    let threads = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = remote.map_or_else(threads, |remote| remote.partitions);
    let mut session = session_that_may_spill(memory_limit / POOL_SHARE, threads, spill_dir)?;
    if remote.is_some() {
        trust_no_statistics(&session);
    } else {
        session = file_rows::known_to(&session);
    }
    literals::register(&session).map_err(|e| from_datafusion(e, QUERY))?;
    let tables = tables::register(&session, spool, archive);
    let named = check_tables(&session, &tables, &statement, (spool, archive), all_columns).await?;

    let mut planning = Planning {
        session: &session,
        remote,
        threads,
        typed: &typed,
    };
    let mut looked_at_all = false;
    let (plan, physical, counts) = loop {
        match planning.attempt(&statement).await {
            Ok(PlannedStatement {
                plan,
                physical,
                counts,
            }) => {
                if matches!(plan, LogicalPlan::DescribeTable(_)) && !looked_at_all {
                    look_at_all(&tables, &named).await?;
                    looked_at_all = true;
                    continue;
                }
                // Rows are found to be large when a plan is made; the plan has the size of batches
                // in it, and how many row groups are read at a time.
                let (batch_rows, group_bytes) = tables.sizes();
                let side_by_side = group_bytes.saturating_mul(planning.threads as u64);
                let calmer = planning.threads > 1
                    && remote.is_none()
                    && side_by_side > memory_limit / GROUPS_SHARE;
                if calmer {
                    planning.threads = 1;
                }
                if narrow(&session, batch_rows) || calmer {
                    continue;
                }
                break (plan, physical, counts);
            }
            Err(Unplanned::Refused(error)) => return Err(error),
            Err(Unplanned::Failed(error)) if Learned::caused(&error) => {}
            Err(Unplanned::Failed(error)) if is_about_a_column(&error) && !looked_at_all => {
                look_at_all(&tables, &named).await?;
                looked_at_all = true;
            }
            Err(Unplanned::Failed(error)) => return Err(from_datafusion(error, QUERY)),
        }
    };
    let run = async {
        Ok(match remote {
            Some(remote) if (remote.travels)(&physical) => (remote.run)(physical).await?,
            _ => execute_stream(physical, session.task_ctx())?,
        })
    };
    let stream = run.await.map_err(|e| from_datafusion(e, QUERY))?;
    let again = counts.then(|| Again {
        session: session.clone(),
        plan,
        threads: planning.threads,
    });
    Ok(Rows {
        stream,
        again,
        ended: false,
        tables,
    })
}

/// How a statement is planned.
struct Planning<'a> {
    session: &'a SessionContext,
    remote: Option<&'a Remote>,
    threads: usize,
    /// Values of parameters whose types the plan tells.
    typed: &'a BTreeMap<String, &'a str>,
}

/// A planned statement.
struct PlannedStatement {
    plan: LogicalPlan,
    physical: Arc<dyn ExecutionPlan>,
    /// Whether the plan counts on an order of rows.
    counts: bool,
}

/// Why a statement could not be planned.
enum Unplanned {
    /// It does more than reading.
    Refused(Error),
    /// The planner says so; perhaps because the columns were not known yet.
    Failed(DataFusionError),
}

impl From<DataFusionError> for Unplanned {
    fn from(error: DataFusionError) -> Self {
        Self::Failed(error)
    }
}

impl Planning<'_> {
    async fn attempt(
        &self,
        statement: &Statement,
    ) -> std::result::Result<PlannedStatement, Unplanned> {
        let Self {
            session,
            remote,
            threads,
            typed,
        } = self;
        let plan = session.state().statement_to_plan(statement.clone()).await?;
        check_plan(&plan).map_err(Unplanned::Refused)?;
        let plan = days::understood(parameters::put(plan, typed)?)?;
        let (physical, counts) = if remote.is_none() {
            planned(session, &plan, *threads).await?
        } else {
            // Rows that go from one executor to another do not keep their order, so nothing is
            // claimed.
            if let LogicalPlan::Explain(explain) = &plan {
                // An EXPLAIN tells of an error as if it were a plan.
                let _ = physical(session, explain.plan.as_ref().clone()).await?;
            }
            (physical(session, plan.clone()).await?, false)
        };
        file_rows::check(&physical).map_err(Unplanned::Refused)?;
        Ok(PlannedStatement {
            plan,
            physical,
            counts,
        })
    }
}

/// Whether the statement names a column that no table is known to have.
fn is_about_a_column(error: &DataFusionError) -> bool {
    causes(error).any(|cause| {
        let error = cause.downcast_ref::<DataFusionError>();
        matches!(error, Some(DataFusionError::SchemaError(what, _)) if matches!(**what, SchemaError::FieldNotFound { .. }))
    }) || matches!(
        error.find_root(),
        DataFusionError::SchemaError(what, _) if matches!(**what, SchemaError::FieldNotFound { .. })
    )
}

async fn look_at_all(tables: &Tables, named: &[(Side, String)]) -> Result<()> {
    for (side, table) in named {
        tables.look_at_all(*side, Some(table)).await?;
    }
    Ok(())
}

/// How `plan` is carried out here, and whether that counts on an order of rows: where it saves a
/// sort. Elsewhere that costs more than it gives, as groups are made in order then, and by one
/// thread.
async fn planned(
    session: &SessionContext,
    plan: &LogicalPlan,
    threads: usize,
) -> DfResult<(Arc<dyn ExecutionPlan>, bool)> {
    if let LogicalPlan::Explain(explain) = plan {
        // It holds the plan that it is about as text, so that one is made to decide.
        let (_, counts) = Box::pin(planned(session, &explain.plan, threads)).await?;
        return Ok((physical(session, plan.clone()).await?, counts));
    }
    count_on(session, CountsOn::Nothing, threads);
    let sorted = physical(session, plan.clone()).await?;
    let most = number_of::<SortExec>(&sorted)?;
    if most == 0 {
        return Ok((sorted, false));
    }
    for order in [CountsOn::Receipts, CountsOn::FileRows] {
        count_on(session, order, threads);
        let ordered = physical(session, plan.clone()).await?;
        if number_of::<SortExec>(&ordered)? < most && number_of::<Held>(&ordered)? > 0 {
            return Ok((ordered, true));
        }
    }
    count_on(session, CountsOn::Nothing, threads);
    Ok((sorted, false))
}

/// How many operators of this type a plan has.
fn number_of<T: ExecutionPlan>(plan: &Arc<dyn ExecutionPlan>) -> DfResult<usize> {
    let mut number = 0;
    let _ = plan.apply(|node| {
        number += usize::from(node.downcast_ref::<T>().is_some());
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(number)
}

async fn physical(session: &SessionContext, plan: LogicalPlan) -> DfResult<Arc<dyn ExecutionPlan>> {
    session
        .execute_logical_plan(plan)
        .await?
        .create_physical_plan()
        .await
}

/// Whether the statement is to start over without relying on an order: the rows were not in it, or
/// a merge ran out of memory, where a sort would have spilled.
fn begins_anew(error: &DataFusionError) -> bool {
    let disorder = OutOfOrder::caused(error);
    if disorder {
        tracing::warn!(why = %OutOfOrder, "the query starts again without the claimed order; `qlc verify` names the file");
    }
    disorder || matches!(error.find_root(), DataFusionError::ResourcesExhausted(_))
}

/// What is said of the error of a statement's plan. DataFusion does not say which file an error is
/// about, so the message names who does.
#[must_use]
pub fn failure(error: DataFusionError) -> Error {
    if OutOfOrder::caused(&error) {
        return Error::new(
            Kind::BadInput,
            format!("{QUERY}: {OutOfOrder}; `qlc verify` names the file"),
        );
    }
    let damaged = matches!(error.find_root(), DataFusionError::ParquetError(_));
    from_datafusion(
        error,
        if damaged {
            "the query (`qlc verify` names the damaged file)"
        } else {
            QUERY
        },
    )
}

fn failed(error: DataFusionError, tables: &Tables) -> Error {
    let is_a_cast = matches!(error.find_root(), DataFusionError::ArrowError(what, _) if matches!(**what, ArrowError::CastError(_)));
    let told = failure(error);
    let checked = tables.checked();
    if !is_a_cast || checked.is_empty() {
        return told;
    }
    Error::caused(
        told.kind(),
        format!(
            "{QUERY}: a value does not fit in its column: {}",
            checked.join(", ")
        ),
        told,
    )
}

fn parse(sql: &str) -> Result<Statement> {
    let mut statements = DFParserBuilder::new(sql)
        .with_dialect(&GenericDialect {})
        .build()
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|e| from_datafusion(e, QUERY))?;
    match (statements.pop_front(), statements.len()) {
        (Some(statement), 0) => Ok(statement),
        (None, _) => Err(Error::usage(EMPTY)),
        (Some(_), more) => Err(Error::usage(format!(
            "the query has {} statements: run them one at a time",
            more + 1
        ))),
    }
}

fn check_read_only(statement: &Statement) -> Result<()> {
    let reads = match statement {
        Statement::Explain(explain) => return check_read_only(&explain.statement),
        Statement::Statement(sql) => matches!(
            sql.as_ref(),
            ast::Statement::Query(_)
                | ast::Statement::Explain { .. }
                | ast::Statement::ExplainTable { .. }
                | ast::Statement::ShowVariable { .. }
                | ast::Statement::ShowTables { .. }
                | ast::Statement::ShowColumns { .. }
                | ast::Statement::ShowFunctions { .. }
        ),
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => false,
    };
    if reads { Ok(()) } else { Err(only_reads()) }
}

/// The same for what hides deeper, such as an INSERT in an EXPLAIN.
fn check_plan(plan: &LogicalPlan) -> Result<()> {
    let options = SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false);
    options.verify_plan(plan).map_err(|_| only_reads())
}

fn only_reads() -> Error {
    Error::usage(
        "a query only reads: write SELECT, EXPLAIN, SHOW or DESCRIBE; rows are written to a file with --output",
    )
}

/// The statement that is run or explained.
fn inner(statement: &mut Statement) -> Option<&mut ast::Statement> {
    let mut inner = statement;
    while let Statement::Explain(explain) = inner {
        inner = &mut explain.statement;
    }
    if let Statement::Statement(sql) = inner {
        Some(sql)
    } else {
        None
    }
}

/// Puts the values of `params` where the statement has parameters.
fn bind(statement: &mut Statement, params: &BTreeMap<String, Value>) -> Result<()> {
    let mut binding = Binding {
        params,
        used: BTreeSet::new(),
        compared: HashSet::new(),
    };
    if let Some(sql) = inner(statement) {
        let _: ControlFlow<()> = sql.visit(&mut binding);
    }
    let missing: Vec<_> = binding
        .used
        .iter()
        .filter(|name| !params.contains_key(*name))
        .collect();
    if missing.iter().any(|name| name.is_empty()) {
        return Err(Error::usage(
            "the query has a parameter without a name: write $name and --param name=value",
        ));
    }
    if let Some(first) = missing.first() {
        let all: Vec<_> = missing.iter().map(|name| format!("${name}")).collect();
        let all = all.join(", ");
        return Err(Error::usage(format!(
            "the query needs a value for {all}: give --param {first}=value"
        )));
    }
    if let Some(unknown) = params.keys().find(|name| !binding.used.contains(*name)) {
        let known: Vec<_> = binding.used.iter().map(|name| format!("${name}")).collect();
        let known = if known.is_empty() {
            "has none".to_owned()
        } else {
            format!("has {}", known.join(", "))
        };
        return Err(Error::usage(format!(
            "there is no parameter ${unknown} in the query: it {known}"
        )));
    }
    Ok(())
}

struct Binding<'a> {
    params: &'a BTreeMap<String, Value>,
    used: BTreeSet<String>,
    /// Where parameters stand that are compared with something: the plan tells their types.
    compared: HashSet<Span>,
}

impl VisitorMut for Binding<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<()> {
        for side in compared(expr) {
            if let ast::Expr::Value(value) = bare(side) {
                let _ = self.compared.insert(value.span);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<()> {
        if let Literal::Placeholder(written) = &value.value {
            // `?` has no name and so no value.
            let name = written.strip_prefix('$').unwrap_or_default().to_owned();
            if let Some(found) = self.params.get(&name) {
                value.value = match found {
                    Value::Typed(_) if self.compared.contains(&value.span) => value.value.clone(),
                    // With an exponent the number is a float whatever its fraction.
                    Value::Float(x) => Literal::Number(format!("{x:e}"), false),
                    Value::Typed(text) if parameters::is_written_as_number(text) => {
                        Literal::Number(text.clone(), false)
                    }
                    Value::Text(text) | Value::Typed(text) => {
                        Literal::SingleQuotedString(text.clone())
                    }
                };
            }
            let _ = self.used.insert(name);
        }
        ControlFlow::Continue(())
    }
}

/// What `expr` compares.
fn compared(expr: &ast::Expr) -> Vec<&ast::Expr> {
    use ast::{BinaryOperator as Op, Expr};
    match expr {
        Expr::BinaryOp {
            left,
            op: Op::Eq | Op::NotEq | Op::Lt | Op::LtEq | Op::Gt | Op::GtEq,
            right,
        }
        | Expr::IsDistinctFrom(left, right)
        | Expr::IsNotDistinctFrom(left, right) => {
            vec![left, right]
        }
        Expr::Between {
            expr, low, high, ..
        } => vec![expr, low, high],
        Expr::InList { expr, list, .. } => std::iter::once(expr.as_ref()).chain(list).collect(),
        Expr::Like { expr, pattern, .. } | Expr::ILike { expr, pattern, .. } => {
            vec![expr, pattern]
        }
        _ => Vec::new(),
    }
}

/// `expr` without parentheses around it.
fn bare(expr: &ast::Expr) -> &ast::Expr {
    match expr {
        ast::Expr::Nested(inner) => bare(inner),
        other => other,
    }
}

/// Refuses tables that are not there with the names of those that are, and lists the stores that
/// the statement is about. Returns the tables that it names.
async fn check_tables(
    session: &SessionContext,
    tables: &Tables,
    statement: &Statement,
    (spool, archive): (&Store, &Store),
    all_columns: bool,
) -> Result<Vec<(Side, String)>> {
    let mut named = Vec::new();
    let state = session.state();
    let references = state
        .resolve_table_references(statement)
        .map_err(|e| from_datafusion(e, QUERY))?;
    for reference in references {
        // A table function such as generate_series is written like a table.
        if reference.schema().is_none() && state.table_functions().contains_key(reference.table()) {
            continue;
        }
        let (catalog, schema) = (
            reference.catalog().unwrap_or(CATALOG),
            reference.schema().unwrap_or(DEFAULT_SCHEMA),
        );
        let side = match (catalog, schema) {
            (CATALOG, "archive") => Side::Archive,
            (CATALOG, "spool") => Side::Spool,
            // SHOW and DESCRIBE speak of all tables.
            (_, "information_schema") => {
                let _ = tables.names(Side::Archive).await?;
                let _ = tables.names(Side::Spool).await?;
                if all_columns && reference.table() == "columns" {
                    tables.look_at_all(Side::Archive, None).await?;
                    tables.look_at_all(Side::Spool, None).await?;
                }
                continue;
            }
            _ => {
                return Err(Error::usage(format!(
                    "there is no table {reference}: tables are named archive.… or spool.…"
                )));
            }
        };
        let (store, noun) = match side {
            Side::Archive => (archive, "archive"),
            Side::Spool => (spool, "spool"),
        };
        if let Some(folder) = store.absent() {
            return Err(Error::usage(format!(
                "{folder}: there is no such folder; name the {noun} with --{noun} or QLC_{}",
                noun.to_uppercase()
            )));
        }
        check_name(&reference, noun, &tables.names(side).await?)?;
        named.push((side, reference.table().to_owned()));
    }
    Ok(named)
}

fn check_name(reference: &TableReference, schema: &str, known: &[String]) -> Result<()> {
    if known.iter().any(|name| name == reference.table()) {
        return Ok(());
    }
    let hint = nearest(reference.table(), known.iter().map(String::as_str))
        .map_or_else(String::new, |near| {
            format!("did you mean {schema}.{near}? ")
        });
    let known = known.join(", ");
    Err(Error::usage(format!(
        "there is no table {schema}.{}: {hint}{schema} has {known}",
        reference.table()
    )))
}
