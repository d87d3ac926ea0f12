//! Who may publish and subscribe, and not create. Who may nothing at all: `deny_all`.

use std::sync::Arc;

use meshwire_gateway::mesh::{Action, Authorize, Caller};
use meshwire_proto::ErrorKind;
use meshwire_proto::frame::ClientFrame;

use crate::rig::{Rig, earliest, event, memory, run_of};

/// Denies all but these.
struct Only(&'static [Action]);

impl Authorize for Only {
    fn allows(&self, _: &Caller, action: Action, _: &str) -> bool {
        self.0.contains(&action)
    }
}

const DENIED: u32 = ErrorKind::Denied.number();

#[tokio::test]
async fn creating_a_topic_by_its_first_use_needs_leave_to_create() {
    let rig = Rig::with(memory(), Arc::new(Only(&[Action::Connect, Action::Publish, Action::Subscribe]))).await;
    let mut peer = rig.session().await;
    assert_eq!(peer.publish("t", run_of(&[event("1")])).await[0].code, DENIED);
    peer.send(ClientFrame::Subscribe(earliest(1, "t", "g"))).await;
    assert_eq!(peer.error().await.code, DENIED);
}
