use meshwire::session::defect::{Defect, set};
use meshwire::{ErrorKind, Event, State};

use crate::script::connected;

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_session_is_internal_to_whoever_waits_and_to_all_calls_after_it() {
    let (mesh, mut gateway, _listener) = connected().await;
    let pending = mesh.publish_start("orders", Event::default()).await.unwrap();
    gateway.publish().await;
    set(Some(Defect::Panics));
    gateway.keep(1, 1, 1).await;
    let error = pending.await.unwrap_err();
    assert_eq!((error.kind(), error.retryable()), (ErrorKind::Internal, false), "{error}");
    assert!(error.message().contains("connect a new client"), "{error}");
    assert!(gateway.next().await.is_none());
    mesh.state().wait_for(|state| *state == State::Closed).await.unwrap();
    for error in [
        mesh.publish("orders", Event::default()).await.unwrap_err(),
        mesh.topics().list().await.unwrap_err(),
        mesh.subscribe("orders").await.unwrap_err(),
        mesh.request("orders", Event::default()).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
    }
}
