//! What there is by the published schemas: an operation that is new there and not in the table fails.

use std::collections::BTreeSet;

use meshwire_proto::wire::DESCRIPTORS;
use prost::Message as _;
use prost_types::FileDescriptorSet;

fn files() -> FileDescriptorSet {
    FileDescriptorSet::decode(DESCRIPTORS).unwrap()
}

/// The fields of a message.
pub(super) fn fields(package: &str, message: &str) -> BTreeSet<String> {
    let files = files().file.into_iter().filter(|file| file.package() == package);
    let mut messages = files.flat_map(|file| file.message_type).filter(|found| found.name() == message);
    messages.next().unwrap().field.iter().map(|field| field.name().to_owned()).collect()
}

/// The methods of all services of ours, as `package.Service/Method`.
pub(super) fn methods() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in files().file {
        for service in &file.service {
            let name = |method: &str| format!("{}.{}/{method}", file.package(), service.name());
            found.extend(service.method.iter().map(|method| name(method.name())));
        }
    }
    found
}
