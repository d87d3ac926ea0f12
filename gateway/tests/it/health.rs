//! Whether a gateway lives and is ready.

use crate::rig::Rig;

#[tokio::test]
async fn a_gateway_that_serves_lives_and_is_ready() {
    let rig = Rig::start().await;
    for path in ["/healthz", "/readyz"] {
        let answer = rig.get(path).await;
        assert_eq!((answer.status, answer.text()), (200, r#"{"status":"ok"}"#), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(rig.get(&format!("{path}?verbose")).await.code(), "INVALID");
    }
}
