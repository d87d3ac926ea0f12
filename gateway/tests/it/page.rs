//! The page at `/`, as curl sees it.

use meshwire_proto::Event;
use meshwire_proto::frame::SettleKind;
use meshwire_proto::wire::session as wire;

use crate::rig::{Rig, earliest, run_of};

#[tokio::test]
async fn topics_groups_and_dead_letters_are_in_tables_and_markup_of_others_is_text() {
    let rig = Rig::start().await;
    let mut peer = rig.session().await;
    let script = "<script>alert('x')</script>";
    let event = Event::text("t", script).id("1").source("/<b>").data_content_type("text/plain");
    peer.publish("orders", run_of(&[event.clone(), event.id("2")])).await;
    peer.subscribe(wire::Subscribe { ..earliest(1, "orders", "billing") }).await;
    peer.deliveries(2).await;
    peer.settle(1, 1, 1, SettleKind::Reject).await;

    let answer = rig.get("/").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let html = answer.text();
    assert!(html.contains("<span id=\"state\">ready</span>"), "{html}");
    assert!(html.contains(&format!("<span id=\"version\">{}</span>", env!("CARGO_PKG_VERSION"))));
    assert!(
        html.contains("<td><a href=\"/v1/topics/orders\">orders</a></td><td>memory</td><td class=\"number\">2</td>"),
        "{html}"
    );
    let group = "<td>orders</td><td><a href=\"/v1/topics/orders/groups/billing\">billing</a></td><td class=\"number\">1</td>\
        <td class=\"number\">1</td><td class=\"number\">1</td>";
    assert!(html.contains(group), "{html}");
    assert!(html.contains("<table id=\"dead-letters\">") && html.contains("/dead-letters/1\">1</a>"), "{html}");
    assert!(!html.contains("<script") && !html.contains("<b>"), "{html}");
    assert!(html.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"), "{html}");
}

#[tokio::test]
async fn a_page_loads_nothing_but_its_style_and_runs_nothing() {
    let rig = Rig::start().await;
    let answer = rig.get("/").await;
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'self'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    for active in [" style=", "<style", "<script", " onload", " onclick", "javascript:", "http://", "https://"] {
        assert!(!answer.text().contains(active), "{active}: {}", answer.text());
    }
    assert!(answer.text().contains("<p id=\"topics\">None.</p>"));
    let style = rig.get("/page.css").await;
    assert_eq!((style.status, style.header("content-type")), (200, Some("text/css; charset=utf-8")));
    assert!(!style.text().contains("url(") && !style.text().contains("@import"));
}

#[tokio::test]
async fn more_topics_than_a_page_has_are_behind_links_with_their_groups_and_lag() {
    let rig = Rig::start().await;
    for n in 0..201 {
        assert_eq!(rig.ask("PUT", &format!("/v1/topics/t{n:03}"), "").await.status, 200);
    }
    assert_eq!(rig.ask("PUT", "/v1/topics/t200/groups/late", r#"{"start":"earliest"}"#).await.status, 200);
    rig.offer("t200", &["1", "2"]).await;
    let next = |page: &str| page.split("<a href=\"/?").nth(1).map(|rest| rest.split('"').next().unwrap().to_owned());
    let first = rig.get("/").await.text().to_owned();
    assert!(first.contains(">t099<") && !first.contains(">t100<") && !first.contains("First page"));
    assert!(first.contains("a list of 201 topics"), "{first}");
    let second = rig.get(&format!("/?{}", next(&first).unwrap())).await.text().to_owned();
    assert!(second.contains(">t100<") && second.contains(">t199<") && second.contains("<a href=\"/\">First page</a>"));
    assert!(!second.contains(">t099<") && !second.contains("late"));
    let third = rig.get(&format!("/?{}", next(&second).unwrap())).await.text().to_owned();
    assert!(third.contains(">t200<") && !third.contains(">t199<") && next(&third).is_none());
    assert!(third.contains("<td class=\"number\">2</td>") && third.contains(">late<"), "{third}");
    let group = "<a href=\"/v1/topics/t200/groups/late\">late</a></td><td class=\"number\">0</td><td class=\"number\">0</td>\
        <td class=\"number\">2</td>";
    assert!(third.contains(group), "{third}");
}
