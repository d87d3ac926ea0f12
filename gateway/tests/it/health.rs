//! Whether a gateway lives and is ready.

use crate::rig::Rig;

#[tokio::test]
async fn a_gateway_that_serves_lives_and_is_ready() {
    let rig = Rig::start().await;
    for path in ["/healthz", "/readyz"] {
        let answer = rig.look(path).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"status":"ok"}"#), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(rig.look(&format!("{path}?verbose")).await.code(), "INVALID");
    }
}
