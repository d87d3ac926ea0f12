//! Meshwire's client for C: what `include/meshwire.h` declares, over `meshwire-embed`.
//!
//! Whatever C holds of us is a number in a table ([`values`]), never an address: what was freed, settled or made before a fork is an error
//! when it is used again. Every function ends in [`border::run`], which makes its errors an `mw_error`, and a panic `MW_INTERNAL`.
//!
//! - [`border`]: errors, texts and buffers across the border; [`code`]: the numbers of errors, generated;
//! - [`client`], [`event`], [`publish`], [`request`], [`admin`]: what a client is asked;
//! - [`subscription`], [`delivery`], [`message`]: what is received; [`handler`], [`work`], [`pieces`], [`answer`]: the same for handlers;
//! - [`queue`], [`completion`]: calls that are begun, and what they come to;
//! - [`packed`], [`pack`]: events as one run of bytes, to publish and received, for languages to which a call costs much;
//! - [`hooks`], [`logs`], [`testing`].
//!
//! *Invariant:* no thread of the library calls the program.
#![allow(unsafe_code, reason = "C passes pointers; what it owes for them is said of each function in the header")]
#![allow(non_camel_case_types, reason = "the names are those of C")]
#![allow(improper_ctypes_definitions, reason = "types without a layout are only pointed to")]
#![allow(clippy::missing_safety_doc, reason = "the documentation is the header's, whose readers write C")]

pub mod admin;
pub mod answer;
pub mod border;
pub mod client;
pub mod code;
pub mod completion;
pub mod delivery;
pub mod event;
pub mod handler;
pub mod hooks;
pub mod logs;
pub mod message;
pub mod pack;
pub mod packed;
pub mod pieces;
pub mod publish;
pub mod queue;
pub mod request;
pub mod subscription;
pub mod testing;
pub mod values;
pub mod work;
