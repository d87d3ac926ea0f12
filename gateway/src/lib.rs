//! The Meshwire gateway.
//!
//! ```text
//! ingress ─▶ mesh ─▶ engine ─▶ store
//!               ◀── sinks ◀──────┘
//! ```
//!
//! - [`ingress`]: bytes in, calls to the mesh, answers back;
//! - [`mesh`]: the narrow waist, and who may do what;
//! - [`engine`]: groups, leases, duplicates, timers, as a state machine;
//! - [`store`]: where events are kept;
//! - [`delivery`]: what a subscriber's end must offer;
//! - [`clock`], [`random`]: the only sources of time and chance;
//! - [`config`]: what a gateway is told; [`run`]: the one place that wires the parts.

pub mod clock;
pub mod config;
pub mod delivery;
pub mod engine;
pub mod ingress;
pub mod mesh;
pub mod random;
pub mod recover;
pub mod run;
pub mod store;
