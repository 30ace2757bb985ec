//! How results look for a person. Pure: values in, text out.
//!
//! Colour never carries meaning alone, and messages are printed below a table, so that a narrow
//! table cuts none off.

mod answer;
mod checks;
mod coverage;
mod held;
mod imported;
mod input;
mod inspection;
mod named;
mod outcomes;
mod outlooks;
mod parts;
mod pruned;
mod reconciled;
mod settings;
mod swept;
mod verified;

pub(crate) use answer::lacking;
pub(crate) use checks::checks;
pub(crate) use coverage::coverage;
pub(crate) use held::{entry, held, retried};
pub(crate) use imported::imported;
pub(crate) use input::input;
pub(crate) use inspection::inspection;
pub(crate) use named::named;
pub(crate) use outcomes::outcomes;
pub(crate) use outlooks::outlooks;
pub(crate) use parts::{bytes, count, rows};
pub(crate) use pruned::pruned;
pub(crate) use reconciled::{compared, reconciled};
pub(crate) use settings::settings;
pub(crate) use swept::swept;
pub(crate) use verified::{Checked, Misplaced, verified};

#[cfg(test)]
mod tests;
