//! Numbers in statements mean what they say.
//!
//! A number with a point is a float to the planner, which has some fifteen digits. Beside a decimal
//! column a longer one would be compared with another number than was written: there it is a
//! decimal. Everywhere else it stays the float that it was.
//!
//! A list of floats that has a zero has both of them: lists are compared bit by bit, `=` is not,
//! and `x IN (0.0)` means `x = 0.0`. Refuses to change what else a statement compares.

use std::{ops::ControlFlow, sync::Arc};

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType};
use datafusion::{
    common::{
        DFSchema, Result, ScalarValue,
        config::ConfigOptions,
        exec_datafusion_err,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{
        Between, BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, ScalarUDF,
        Volatility, create_udf, expr::InList, expr_rewriter::FunctionRewrite, lit,
        utils::merge_schema,
    },
    optimizer::AnalyzerRule,
    prelude::SessionContext,
    sql::sqlparser::ast::{
        BinaryOperator, Expr as Written, Function, FunctionArg, FunctionArgExpr,
        FunctionArgumentList, FunctionArguments, Ident, ObjectName, UnaryOperator, Value, VisitMut,
        VisitorMut,
    },
};

/// The function that stands for a number until it is known what it stands beside.
const NUMBER: &str = "qlc_number";
/// So many digits of a float are those that were written.
const DIGITS_OF_FLOATS: usize = 15;

/// Makes the session understand what [`mark`] leaves in statements, and lists of floats.
///
/// # Errors
/// Never in practice: the session takes functions.
pub(super) fn register(session: &SessionContext) -> Result<()> {
    session.register_udf(number());
    session.add_analyzer_rule(Arc::new(BothZeros));
    let state = session.state_ref();
    let mut state = state.write();
    datafusion::execution::registry::FunctionRegistry::register_function_rewrite(
        &mut *state,
        Arc::new(ExactNumbers),
    )
}

/// The number of a text, as a float.
fn number() -> ScalarUDF {
    let float = |args: &[ColumnarValue]| match args.first() {
        Some(ColumnarValue::Scalar(ScalarValue::Utf8(Some(text)))) => {
            let value: f64 = text
                .parse()
                .map_err(|_| exec_datafusion_err!("{text} is no number"))?;
            Ok(ColumnarValue::Scalar(value.into()))
        }
        _ => Err(exec_datafusion_err!("{NUMBER} is not for statements")),
    };
    create_udf(
        NUMBER,
        vec![DataType::Utf8],
        DataType::Float64,
        Volatility::Immutable,
        Arc::new(float),
    )
}

/// Marks numbers of more digits than a float has, where they are compared with something.
pub(super) fn mark<S: VisitMut>(statement: &mut S) {
    let _: ControlFlow<()> = statement.visit(&mut Marking);
}

struct Marking;

impl VisitorMut for Marking {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Written) -> ControlFlow<()> {
        use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
        match expr {
            Written::BinaryOp {
                left,
                op: Eq | NotEq | Lt | LtEq | Gt | GtEq,
                right,
            } => {
                marked(left);
                marked(right);
            }
            Written::Between {
                expr, low, high, ..
            } => {
                for one in [expr, low, high] {
                    marked(one);
                }
            }
            Written::InList { expr, list, .. } => {
                marked(expr);
                list.iter_mut().for_each(marked);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Puts the number into the function that keeps its text.
fn marked(expr: &mut Written) {
    match expr {
        Written::UnaryOp {
            op: UnaryOperator::Minus | UnaryOperator::Plus,
            expr,
        }
        | Written::Nested(expr) => {
            marked(expr);
        }
        Written::Value(value) => {
            let Value::Number(text, _) = &value.value else {
                return;
            };
            if exact(text).is_none() {
                return;
            }
            let text = Value::SingleQuotedString(text.clone());
            let argument = FunctionArg::Unnamed(FunctionArgExpr::Expr(Written::Value(text.into())));
            let list = FunctionArgumentList {
                duplicate_treatment: None,
                args: vec![argument],
                clauses: Vec::new(),
            };
            *expr = Written::Function(Function {
                name: ObjectName::from(vec![Ident::new(NUMBER)]),
                uses_odbc_syntax: false,
                parameters: FunctionArguments::None,
                args: FunctionArguments::List(list),
                filter: None,
                null_treatment: None,
                over: None,
                within_group: Vec::new(),
            });
        }
        _ => {}
    }
}

/// The same for a number that is put into a plan: the function that keeps its text, where a float
/// has too few digits for it.
pub(super) fn exactly(text: &str) -> Option<Expr> {
    let (negative, digits) = text
        .strip_prefix('-')
        .map_or((false, text), |digits| (true, digits));
    let _ = exact(digits)?;
    let call = number().call(vec![lit(digits)]);
    Some(if negative {
        Expr::Negative(Box::new(call))
    } else {
        call
    })
}

/// The type of a number with a point and more digits than a float has, if a decimal has as many.
fn exact(text: &str) -> Option<DataType> {
    let (whole, fraction) = text.split_once('.')?;
    let is_plain = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if !is_plain(whole) || !is_plain(fraction) {
        return None;
    }
    let digits = whole.trim_start_matches('0').len() + fraction.len();
    let (precision, scale) = (
        u8::try_from(digits.max(1)).ok()?,
        i8::try_from(fraction.len()).ok()?,
    );
    match precision {
        _ if digits <= DIGITS_OF_FLOATS => None,
        1..=DECIMAL128_MAX_PRECISION => Some(DataType::Decimal128(precision, scale)),
        _ if precision <= DECIMAL256_MAX_PRECISION => Some(DataType::Decimal256(precision, scale)),
        _ => None,
    }
}

/// Numbers beside decimals become decimals.
#[derive(Debug)]
struct ExactNumbers;

impl FunctionRewrite for ExactNumbers {
    fn name(&self) -> &'static str {
        "exact_numbers"
    }

    fn rewrite(
        &self,
        expr: Expr,
        schema: &DFSchema,
        _: &ConfigOptions,
    ) -> Result<Transformed<Expr>> {
        let is_decimal = |expr: &Expr| {
            as_decimal(expr).is_none()
                && expr
                    .get_type(schema)
                    .is_ok_and(|kind| beside_decimals(&kind))
        };
        let beside = |expr: Box<Expr>, others: bool| match as_decimal(&expr) {
            Some(decimal) if others => Box::new(decimal),
            _ => expr,
        };
        Ok(match expr {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if op.supports_propagation() => {
                let (is_left, is_right) = (is_decimal(&left), is_decimal(&right));
                let (left, right) = (beside(left, is_right), beside(right, is_left));
                Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right }))
            }
            Expr::Between(Between {
                expr,
                negated,
                low,
                high,
            }) => {
                let others = [&expr, &low, &high].into_iter().any(|one| is_decimal(one));
                let (expr, low, high) = (
                    beside(expr, others),
                    beside(low, others),
                    beside(high, others),
                );
                Transformed::yes(Expr::Between(Between {
                    expr,
                    negated,
                    low,
                    high,
                }))
            }
            Expr::InList(InList {
                expr,
                list,
                negated,
            }) => {
                let others = is_decimal(&expr) || list.iter().any(is_decimal);
                let expr = beside(expr, others);
                let list = list
                    .into_iter()
                    .map(|one| *beside(Box::new(one), others))
                    .collect();
                Transformed::yes(Expr::InList(InList {
                    expr,
                    list,
                    negated,
                }))
            }
            other => Transformed::no(other),
        })
    }
}

fn beside_decimals(kind: &DataType) -> bool {
    match kind {
        DataType::Dictionary(_, value) => beside_decimals(value),
        kind => kind.is_decimal(),
    }
}

/// The decimal that a marked number stands for.
fn as_decimal(expr: &Expr) -> Option<Expr> {
    match expr {
        Expr::Negative(inner) => as_decimal(inner).map(|decimal| Expr::Negative(Box::new(decimal))),
        Expr::ScalarFunction(call) if call.func.name() == NUMBER => match call.args.first()? {
            Expr::Literal(ScalarValue::Utf8(Some(text)), _) => {
                ScalarValue::try_from_string(text.clone(), &exact(text)?)
                    .ok()
                    .map(lit)
            }
            _ => None,
        },
        _ => None,
    }
}

/// Lists of floats that have a zero have both.
#[derive(Debug)]
struct BothZeros;

impl AnalyzerRule for BothZeros {
    fn name(&self) -> &'static str {
        "both_zeros"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let each = |plan: LogicalPlan| {
            let mut schema = merge_schema(&plan.inputs());
            if let LogicalPlan::TableScan(scan) = &plan {
                schema.merge(&DFSchema::try_from_qualified_schema(
                    scan.table_name.clone(),
                    &scan.source.schema(),
                )?);
            }
            let names = datafusion::logical_expr::expr_rewriter::NamePreserver::new(&plan);
            plan.map_expressions(|expr| {
                let name = names.save(&expr);
                let with_both = expr.transform_up(|expr| both_zeros(expr, &schema))?;
                Ok(with_both.update_data(|expr| name.restore(expr)))
            })
        };
        plan.transform_up_with_subqueries(each)
            .map(|done| done.data)
    }
}

fn both_zeros(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Expr::InList(InList {
        expr,
        mut list,
        negated,
    }) = expr
    else {
        return Ok(Transformed::no(expr));
    };
    let kind = expr.get_type(schema)?;
    let is_changed = kind.is_floating() && list.iter().any(is_zero);
    if is_changed {
        for zero in [0.0_f64, -0.0] {
            list.push(lit(ScalarValue::from(zero).cast_to(&kind)?));
        }
    }
    let expr = Expr::InList(InList {
        expr,
        list,
        negated,
    });
    Ok(if is_changed {
        Transformed::yes(expr)
    } else {
        Transformed::no(expr)
    })
}

fn is_zero(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(value, _) => {
            let float = value.cast_to(&DataType::Float64);
            matches!(float, Ok(ScalarValue::Float64(Some(value))) if value == 0.0)
        }
        Expr::Cast(cast) => is_zero(&cast.expr),
        Expr::Negative(inner) => is_zero(inner),
        Expr::ScalarFunction(call) if call.func.name() == NUMBER => {
            call.args.first().is_some_and(is_zero)
        }
        _ => false,
    }
}
