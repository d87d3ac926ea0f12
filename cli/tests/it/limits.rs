//! Limits of a gateway from the command line.

use crate::program::Gateway;

#[test]
fn limits_are_shown_and_changed_while_the_gateway_runs() {
    let gateway = Gateway::start();
    let shown = gateway.run(&["limits", "show"]);
    assert_eq!(shown.out.lines().filter(|line| line.ends_with("no limit")).count(), 4, "{shown:?}");
    let set = gateway.run(&["limits", "set", "--publish-rate", "500", "--deliver-bytes-rate", "1MiB"]);
    assert!(set.out.contains("500 events/s") && set.out.contains("1MiB/s"), "{set:?}");
    let set = gateway.run(&["limits", "set", "--deliver-bytes-rate", "0", "--json"]);
    assert!(set.out.contains(r#""publish_rate":500"#) && set.out.contains(r#""deliver_bytes_rate":0"#), "{set:?}");
    let nothing = gateway.run(&["limits", "set"]);
    assert_eq!(nothing.code, Some(2), "{nothing:?}");
    let much = gateway.run(&["limits", "set", "--publish-budget-bytes", "1TiB"]);
    assert!(much.code == Some(4) && much.err.contains("the gateway was started with"), "{much:?}");
    let wrong = gateway.run(&["limits", "set", "--publish-rate", "fast"]);
    assert!(wrong.code == Some(2) && wrong.err.contains("not a whole number"), "{wrong:?}");
}
