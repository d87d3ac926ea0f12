//! Something of this process, and of no child of it.

use meshwire::Result;

use crate::process::Stamp;

/// In a child of `fork` it is neither used nor dropped: whoever held its locks is not there.
#[derive(Debug)]
pub(crate) struct Local<T> {
    stamp: Stamp,
    /// `None` only while it is dropped.
    value: Option<T>,
}

impl<T> Local<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { stamp: Stamp::here(), value: Some(value) }
    }

    /// It, for the call of that name.
    ///
    /// # Errors
    /// `CLOSED`: this is another process.
    pub(crate) fn get(&self, operation: &'static str) -> Result<&T> {
        self.stamp.check(operation)?;
        self.value.as_ref().ok_or_else(|| gone(operation))
    }

    /// It, to change.
    ///
    /// # Errors
    /// As [`Local::get`].
    pub(crate) fn get_mut(&mut self, operation: &'static str) -> Result<&mut T> {
        self.stamp.check(operation)?;
        self.value.as_mut().ok_or_else(|| gone(operation))
    }

    /// It, for good.
    ///
    /// # Errors
    /// As [`Local::get`].
    pub(crate) fn into_value(mut self, operation: &'static str) -> Result<T> {
        self.stamp.check(operation)?;
        self.value.take().ok_or_else(|| gone(operation))
    }
}

fn gone(operation: &'static str) -> meshwire::Error {
    meshwire::Error::of_host(meshwire::ErrorKind::Internal, operation, "a value was used behind its end")
}

impl<T> Drop for Local<T> {
    fn drop(&mut self) {
        if !self.stamp.is_here()
            && let Some(value) = self.value.take()
        {
            let _: &mut T = Box::leak(Box::new(value));
        }
    }
}
