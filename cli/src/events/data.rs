//! One event of what stands behind `--data`.

use meshwire::Event;
use meshwire::codec::json;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::output;

/// What only a CloudEvent has.
#[derive(Deserialize)]
struct Whole {
    #[serde(rename = "specversion")]
    _specversion: IgnoredAny,
}

/// An event with this data: JSON if it is an object or an array, else text. Warns of what
/// was probably meant otherwise.
pub(crate) fn of_text(kind: &str, data: &str) -> Event {
    let parsed = serde_json::from_str::<&RawValue>(data);
    let begins_like_json = data.trim_start().starts_with(['{', '[']);
    if begins_like_json && let Err(problem) = &parsed {
        output::note(format_args!(
            "warning: --data begins like JSON and is published as text: {}",
            json::told(problem)
        ));
    }
    // An array would be taken for the members of the structure.
    if data.trim_start().starts_with('{') && serde_json::from_str::<Whole>(data).is_ok() {
        output::note(
            "warning: --data is a whole CloudEvent and becomes the data of another; to publish it as it is use --file",
        );
    }
    of_data(kind, data)
}

/// [`of_text`] without warnings.
pub(crate) fn of_data(kind: &str, data: &str) -> Event {
    if data.trim_start().starts_with(['{', '[']) && serde_json::from_str::<&RawValue>(data).is_ok() {
        Event::new(kind).data_content_type("application/json").text_data(data)
    } else {
        Event::text(kind, data)
    }
}
