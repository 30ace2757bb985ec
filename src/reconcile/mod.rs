//! `reconcile`: what the venues publish beside what was recorded.

pub mod published;
