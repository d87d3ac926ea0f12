//! Requests and their replies.

use std::time::Duration;

use meshwire::testing::Gateway;
use meshwire::{ReplySender, Request};
use meshwire_embed::{Ask, ErrorKind, Event, Outcome, Queue};

use crate::rig::{connected, one, options};

/// Serves a topic from a thread of its own: each line of a request is a reply.
fn serve(gateway: &Gateway, topic: &'static str) {
    let (url, (ready, served)) = (gateway.url(), std::sync::mpsc::sync_channel(1));
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mesh = meshwire::connect(&url).await.unwrap();
            let serving = mesh.serve(topic).run_stream(async |request: &Request, replies: &ReplySender| {
                for line in request.text()?.lines() {
                    replies.send(Event::text("said", line.to_uppercase())).await?;
                }
                Ok::<_, meshwire::Error>(())
            });
            tokio::pin!(serving);
            // It is served once a request of our own is answered.
            let asked = async {
                while mesh.request(topic, Event::text("t", "there?")).await.is_err() {}
                ready.send(()).unwrap();
            };
            tokio::select! { _ = &mut serving => {}, () = asked => drop(serving.await) }
        });
    });
    served.recv().unwrap();
}

#[test]
fn a_request_comes_to_its_reply_and_one_for_many_to_batches_of_them() {
    let gateway = Gateway::start().unwrap();
    serve(&gateway, "shout");
    let client = connected(&gateway);
    let queue = Queue::new(2).unwrap();
    let event = |text: &str| Box::new(Event::text("t", text));
    let ask = Ask::Request { topic: "shout".into(), event: event("one"), options: options(&[("retry", "true")]) };
    drop(client.begin(ask, &queue, 1).unwrap());
    let Ok(Outcome::Reply(reply)) = one(&queue) else { panic!("no reply") };
    assert_eq!(reply.text().unwrap(), "ONE");
    let many: Vec<String> = (0..50).map(|n| format!("line {n}")).collect();
    let said = options(&[("reply_credit", "4"), ("request_timeout", "10s")]);
    let ask = Ask::RequestStream { topic: "shout".into(), event: event(&many.join("\n")), options: said };
    let Outcome::Answers(answers) = client.wait(ask).unwrap() else { panic!("no answers") };
    let mut lines = Vec::new();
    loop {
        drop(answers.begin_next(16, None, &queue, 2).unwrap());
        match one(&queue).unwrap() {
            Outcome::Replies(replies) => lines.extend(replies.iter().map(|r| r.text().unwrap().to_lowercase())),
            Outcome::Ended => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(lines, many);
    assert!(matches!(answers.next_batch(1, None), Ok(Outcome::Ended)));
}

#[test]
fn a_request_that_nobody_serves_and_a_wrong_option_are_typed() {
    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    let ask = |pairs: &[(&str, &str)]| Ask::Request {
        topic: "quote".into(),
        event: Box::new(Event::text("t", "x")),
        options: options(pairs),
    };
    assert_eq!(client.wait(ask(&[])).unwrap_err().kind(), ErrorKind::NoResponders);
    for (name, value) in [("timeout", "1s"), ("request_timeout", "soon"), ("retry", "maybe"), ("request_timeout", "0")]
    {
        let error = client.wait(ask(&[(name, value)])).unwrap_err();
        assert_eq!((error.kind(), error.operation()), (ErrorKind::Invalid, "request"), "{name}: {error}");
        assert!(error.to_string().contains(name), "{error}");
    }
    let stream =
        Ask::RequestStream { topic: "quote".into(), event: Box::new(Event::text("t", "x")), options: options(&[]) };
    let Outcome::Answers(answers) = client.wait(stream).unwrap() else { panic!("no answers") };
    assert_eq!(answers.next_batch(1, Some(Duration::from_secs(10))).unwrap_err().kind(), ErrorKind::NoResponders);
    answers.close().unwrap();
    assert!(matches!(answers.next_batch(1, None), Ok(Outcome::Ended)));
}
