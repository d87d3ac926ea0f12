//! Web pages elsewhere cannot drive a gateway, and names of others do not lead to it.

use std::sync::Arc;

use meshwire_gateway::mesh::AllowAll;

use crate::http_client::Answer;
use crate::rig::{Rig, memory};

async fn rig() -> Rig {
    let mut config = memory();
    config.guests.set_origins("https://app.example, http://localhost:3000").unwrap();
    config.guests.set_hosts("mesh.example").unwrap();
    Rig::with(config, Arc::new(AllowAll)).await
}

async fn from(rig: &Rig, method: &str, origin: &str) -> Answer {
    rig.with_headers(method, "/v1/topics/t/events", &format!("origin: {origin}\r\n"), "").await
}

async fn head(rig: &Rig, head: &str) -> Answer {
    rig.raw(format!("{head}connection: close\r\n\r\n").as_bytes()).await
}

#[tokio::test]
async fn a_page_of_a_foreign_origin_is_refused_whatever_it_asks() {
    let rig = rig().await;
    for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD"] {
        for origin in ["https://evil.example", "null", "*", "http://app.example", "https://app.example.evil.example"] {
            let answer = from(&rig, method, origin).await;
            assert_eq!(answer.status, 403, "{method} {origin}: {answer:?}");
            assert_eq!(answer.header("access-control-allow-origin"), None);
            if method != "HEAD" {
                assert_eq!(answer.code(), "ORIGIN_REFUSED");
                assert!(answer.detail().contains("http_origins"), "{}", answer.detail());
            }
        }
    }
    for path in ["/", "/healthz", "/metrics", "/v1/ws", "/nothing"] {
        assert_eq!(
            rig.with_headers("GET", path, "origin: https://evil.example\r\n", "").await.code(),
            "ORIGIN_REFUSED"
        );
    }
}

#[tokio::test]
async fn a_page_that_opens_a_websocket_is_refused_before_the_upgrade() {
    let rig = rig().await;
    let upgrade = "upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
        sec-websocket-protocol: meshwire.v1\r\n";
    let request = |origin: &str, host: &str| {
        format!(
            "GET /v1/ws HTTP/1.1\r\nhost: {host}\r\norigin: {origin}\r\n{upgrade}connection: upgrade, close\r\n\r\n"
        )
    };
    let refused = rig.raw(request("http://evil.example", "localhost").as_bytes()).await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "ORIGIN_REFUSED"));
    let refused = rig.raw(request("http://evil.example", "evil.example").as_bytes()).await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "ORIGIN_REFUSED"), "its name was pointed here");
}

#[tokio::test]
async fn pages_of_the_gateway_itself_and_those_that_are_listed_are_let_in() {
    let rig = rig().await;
    let own = format!("http://{}", rig.address);
    let answer = from(&rig, "POST", &own).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "INVALID"), "it got to the handler");
    assert_eq!(answer.header("access-control-allow-origin"), None, "it needs no leave");
    for origin in ["https://app.example", "https://app.example:443", "http://localhost:3000"] {
        let answer = from(&rig, "POST", origin).await;
        assert_eq!(answer.code(), "INVALID", "{origin}");
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin), "problems can be read, too");
        assert_eq!(answer.header("vary"), Some("origin"));
        assert_eq!(answer.header("access-control-allow-credentials"), None);
    }
}

#[tokio::test]
async fn a_preflight_of_a_listed_page_is_told_what_it_may_send() {
    let rig = rig().await;
    let headers = "origin: https://app.example\r\naccess-control-request-method: PUT\r\n\
        access-control-request-headers: ce-id,content-type\r\naccess-control-request-private-network: true\r\n";
    let answer = rig.with_headers("OPTIONS", "/v1/topics/t/events", headers, "").await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example"));
    assert_eq!(answer.header("access-control-allow-methods"), Some("GET, POST, PUT, PATCH, DELETE"));
    assert_eq!(answer.header("access-control-allow-headers"), Some("ce-id,content-type"));
    assert_eq!(answer.header("access-control-allow-private-network"), Some("true"));
    assert_eq!(answer.header("access-control-allow-credentials"), None);
}

#[tokio::test]
async fn names_that_anybody_could_point_here_are_refused_and_listed_ones_and_addresses_are_not() {
    let rig = rig().await;
    for host in ["evil.example", "127.0.0.1.evil.example", "evil.example:7400"] {
        let answer = head(&rig, &format!("GET /nothing HTTP/1.1\r\nhost: {host}\r\n")).await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "ORIGIN_REFUSED"), "{host}");
        assert!(answer.detail().contains("http_hosts"), "{}", answer.detail());
    }
    for host in
        ["localhost", "LOCALHOST.:1", "a.localhost", "127.0.0.1:7400", "[::1]:7400", "10.1.2.3", "mesh.example:7400"]
    {
        let answer = head(&rig, &format!("GET /nothing HTTP/1.1\r\nhost: {host}\r\n")).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "NOT_FOUND"), "{host}");
    }
}

#[tokio::test]
async fn whether_a_gateway_lives_and_is_ready_is_said_whatever_name_it_has_but_not_to_foreign_pages() {
    let rig = rig().await;
    for path in ["/healthz", "/readyz"] {
        let named = |more: &str| format!("GET {path} HTTP/1.1\r\nhost: gateway.internal:7400\r\n{more}");
        let answer = head(&rig, &named("")).await;
        assert_eq!((answer.status, answer.text()), (200, r#"{"status":"ok"}"#), "{path}");
        assert_eq!(head(&rig, &named("origin: https://evil.example\r\n")).await.code(), "ORIGIN_REFUSED", "{path}");
        let below = head(&rig, &format!("GET {path}/ HTTP/1.1\r\nhost: gateway.internal\r\n")).await;
        assert_eq!(below.code(), "ORIGIN_REFUSED", "{path}");
    }
}

#[tokio::test]
async fn a_request_that_does_not_say_for_which_one_host_it_is_is_invalid() {
    let rig = rig().await;
    for request in [
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nhost:\r\n",
        "GET / HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\n",
        "GET / HTTP/1.1\r\nhost: localhost, evil.example\r\n",
        "GET / HTTP/1.1\r\nhost: user@localhost\r\n",
        "GET / HTTP/1.1\r\nhost: localhost:x\r\n",
        "GET http://evil.example/ HTTP/1.1\r\nhost: localhost\r\n",
        "GET http://localhost/ HTTP/1.1\r\nhost: evil.example\r\n",
        "GET / HTTP/1.1\r\nhost: localhost\r\norigin: http://localhost\r\norigin: http://localhost\r\n",
    ] {
        let answer = head(&rig, request).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "INVALID"), "{request}");
    }
    let evil = head(&rig, "GET http://evil.example/ HTTP/1.1\r\nhost: evil.example\r\n").await;
    assert_eq!(evil.code(), "ORIGIN_REFUSED");
    assert_eq!(head(&rig, "GET http://localhost/nothing HTTP/1.1\r\nhost: localhost\r\n").await.code(), "NOT_FOUND");
    assert_eq!(head(&rig, "GET /nothing HTTP/1.0\r\n").await.code(), "NOT_FOUND", "HTTP/1.0 need not say");
}

#[test]
fn options_that_name_no_origin_or_host_are_refused_and_say_what_is_accepted() {
    let mut config = memory();
    for bad in ["*", "null", "app.example", "https://app.example/path", "https://ok.example,ftp://no.example"] {
        let problem = config.guests.set_origins(bad).unwrap_err();
        assert!(problem.contains("is not an origin; write"), "{problem}");
    }
    for bad in ["*", "https://mesh.example", "a/b", "a b"] {
        assert!(config.guests.set_hosts(bad).unwrap_err().contains("is not a host; write"));
    }
}
