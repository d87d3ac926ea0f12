//! Places in a topic, as they are written on the command line.

use meshwire::Start;

/// As [`Start`] reads them.
pub(crate) fn parse(text: &str) -> Result<Start, String> {
    text.parse::<Start>().map_err(|error| error.message().to_owned())
}
