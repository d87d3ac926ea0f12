//! The native part of Meshwire's client for Python, `meshwire._native`: what crosses the border, and nothing else. The API that
//! programs see is written in Python, around it.
//!
//! - [`Pump`](pump::Pump): the queue of a process; a thread that Python made takes from it, and resolves [`Pending`](pending::Pending)s;
//! - [`Client`](client::Client): each call either begins, and gives a pending, or waits on its thread in slices (`wait`);
//! - [`Stream`](stream::Stream): deliveries, replies and work for handlers, which cross by the batch and are looked at one by one;
//! - [`Message`](message::Message) and its kin: events in place; attributes are made Python's where they are asked for.
//!
//! Nothing here waits with the interpreter's lock held, and no thread of the client ever takes that lock.

mod client;
mod confirm;
mod delivery;
mod draft;
mod errors;
mod logs;
mod message;
mod outcome;
mod pending;
mod pump;
mod stream;
mod wait;
mod work;

use pyo3::prelude::*;

/// The module.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<client::Client>()?;
    module.add_class::<message::Message>()?;
    module.add_class::<delivery::Held>()?;
    module.add_class::<delivery::Delivery>()?;
    module.add_class::<delivery::SyncDelivery>()?;
    module.add_class::<message::Reply>()?;
    module.add_class::<work::Job>()?;
    module.add_class::<work::Request>()?;
    module.add_class::<outcome::Receipt>()?;
    module.add_class::<pending::Pending>()?;
    module.add_class::<pump::Pump>()?;
    module.add_class::<stream::Stream>()?;
    module.add_function(wrap_pyfunction!(client::connect, module)?)?;
    module.add_function(wrap_pyfunction!(client::connect_sync, module)?)?;
    module.add_function(wrap_pyfunction!(logs::keep_logs, module)?)?;
    module.add_function(wrap_pyfunction!(logs::take_logs, module)?)?;
    module.add_function(wrap_pyfunction!(logs::close_logs, module)?)?;
    Ok(())
}
