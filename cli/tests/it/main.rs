//! The real program against itself: what a person or a script sees.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests fail by panicking"
)]

mod access;
mod anywhere;
mod bad_input;
mod broadcast;
mod carried;
mod crashes;
mod dead_letters;
mod delayed;
mod doors;
mod draining;
mod dropped;
mod errors;
mod floods;
mod full;
mod groups;
mod help;
mod isolation;
mod kill;
mod limits;
mod logs;
mod middlebox;
mod names;
mod offline;
mod on_time;
mod program;
mod promises;
mod publish;
mod rebalance;
mod recovery;
mod requests;
mod serve;
mod stopping;
mod subscribe;
mod terminal;
mod topics;
mod unreached;
mod watch;
mod ways;
