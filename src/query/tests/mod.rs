//! Queries over small stores made here, through the same door as the command line.

mod fixture;
mod formats;
mod named;
mod statements;
mod tables;
