//! The fidelity set, for whoever holds a gateway against it: the runner of foreign clients beside this, and the tests of our own.

pub mod plain;
