//! Collect.
mod journal;
mod rows;
mod seal;
mod thread;
