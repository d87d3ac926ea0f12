//! Asking and answering through the handles.

use std::cell::Cell;
use std::time::Duration;

use bytes::Bytes;
use meshwire::{ErrorKind, Event, Mesh, ReplySender, Request, Retry};
use meshwire_proto::frame::{ClientFrame, ServerFrame};
use meshwire_proto::wire::session as wire;

use crate::script::{Gateway, connected, connected_with, event};

fn question() -> Event {
    Event::text("quote.asked", "7")
}

impl Gateway {
    async fn asked(&mut self) -> wire::Request {
        match self.next().await {
            Some(ClientFrame::Request(request)) => request,
            other => panic!("{other:?} instead of Request"),
        }
    }

    async fn said(&mut self) -> wire::Reply {
        match self.next().await {
            Some(ClientFrame::Reply(reply)) => reply,
            other => panic!("{other:?} instead of Reply"),
        }
    }

    async fn reply(&mut self, number: u64, event: Bytes, end: bool) {
        self.send(&ServerFrame::Reply(wire::Reply { number, event, end, ..wire::Reply::default() })).await;
    }

    /// A request for what serves; gives its number.
    async fn ask(&mut self, number: u64, subscription: u32, credit: Option<u32>) {
        let request = wire::Request {
            number,
            subscription,
            topic: "quote".into(),
            timeout_ms: 5000,
            stream: credit.is_some(),
            credit: credit.unwrap_or(0),
            event: event(&number.to_string(), None, "question"),
            ..wire::Request::default()
        };
        self.send(&ServerFrame::Request(request)).await;
    }

    async fn cancel(&mut self, number: u64) {
        self.send(&ServerFrame::Cancel(wire::Cancel { number })).await;
    }
}

async fn upper(request: &Request) -> meshwire::Result<Event> {
    Ok(Event::text("quote.given", request.text()?.to_uppercase()))
}

fn text(reply: &wire::Reply) -> String {
    let limits = meshwire_proto::EventLimits::default();
    let view = meshwire_proto::EventView::parse(&reply.event, limits).unwrap();
    String::from_utf8(view.data().bytes().to_vec()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_request_is_filled_in_sent_and_gives_the_reply() {
    let (mesh, mut gateway, _listener) = connected().await;
    let script = async {
        let asked = gateway.asked().await;
        assert_eq!((asked.topic.as_str(), asked.timeout_ms, asked.stream, asked.retry), ("quote", 2000, false, true));
        gateway.reply(asked.number, event("1", None, "9.99"), true).await;
    };
    let ask = mesh.request("quote", question()).timeout(Duration::from_secs(2)).retry(true);
    let (reply, ()) = tokio::join!(ask, script);
    let reply = reply.unwrap();
    assert_eq!((reply.text().unwrap(), reply.json::<f64>().unwrap(), reply.event().id()), ("9.99", 9.99, "1"));
    assert_eq!(mesh.stats().requests, 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_ends_at_its_timeout_and_one_that_is_dropped_is_cancelled() {
    let (mesh, mut gateway, _listener) = connected().await;
    let error = mesh.request("quote", question()).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.retry(), error.operation()),
        (ErrorKind::Timeout, Retry::UnknownOutcome, "request")
    );
    let first = gateway.asked().await.number;
    assert_eq!(gateway.next().await, Some(ClientFrame::Cancel(wire::Cancel { number: first })));
    tokio::select! {
        biased;
        _ = mesh.request("quote", question()) => panic!("nobody answers"),
        asked = gateway.asked() => assert!(asked.number > first),
    }
    assert!(matches!(gateway.next().await, Some(ClientFrame::Cancel(_))));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_asked_is_refused_before_it_is_sent() {
    let (mesh, _gateway, _listener) = connected_with(|connect| connect.request_window(1)).await;
    let kind = async |ask: meshwire::SendRequest| ask.await.unwrap_err().kind();
    assert_eq!(kind(mesh.request("a b", question())).await, ErrorKind::Invalid);
    assert_eq!(kind(mesh.request("quote", question()).timeout(Duration::ZERO)).await, ErrorKind::Invalid);
    let large = Event::bytes("t", vec![0; 9 << 20]);
    assert_eq!(kind(mesh.request("quote", large)).await, ErrorKind::TooLarge);
    let replies = mesh.request_stream("quote", question()).await.unwrap();
    let error = mesh.request("quote", question()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BufferFull);
    assert!(error.retryable() && error.message().contains("request_window"), "{error}");
    drop(replies);
    let error = mesh.request_stream("quote", question()).credit(0).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test(start_paused = true)]
async fn a_stream_gives_credit_back_as_it_is_read_and_its_error_is_the_last_item() {
    let (mesh, mut gateway, _listener) = connected().await;
    let mut replies = mesh.request_stream("report", question()).credit(4).await.unwrap();
    let asked = gateway.asked().await;
    assert_eq!((asked.stream, asked.credit), (true, 4));
    for n in 1..=4 {
        gateway.reply(asked.number, event(&n.to_string(), None, "line"), false).await;
    }
    for n in 1..=2 {
        assert_eq!(replies.try_next().await.unwrap().unwrap().event().id(), n.to_string());
    }
    let more = wire::ReplyCredit { number: asked.number, events: 2 };
    assert_eq!(gateway.next().await, Some(ClientFrame::ReplyCredit(more)));
    let code = ErrorKind::ResponderLost.number();
    let lost = wire::Reply { number: asked.number, end: true, code, ..wire::Reply::default() };
    gateway.send(&ServerFrame::Reply(lost)).await;
    while let Ok(reply) = replies.try_next().await {
        assert!(reply.is_some());
    }
    assert!(replies.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_is_told_and_with_leave_the_request_is_asked_again() {
    let (mesh, mut gateway, mut listener) = connected().await;
    let script = async {
        gateway.asked().await;
        gateway.asked().await;
        drop(gateway);
        let (mut gateway, _) = Gateway::log_in(&mut listener, crate::script::resumed()).await;
        let again = gateway.asked().await;
        gateway.reply(again.number, event("1", None, "answer"), true).await;
        gateway
    };
    let once = mesh.request("quote", question());
    let again = mesh.request("quote", question()).retry(true);
    let (once, again, _gateway) = tokio::join!(once, again, script);
    let error = once.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::UnknownOutcome));
    assert_eq!(again.unwrap().text().unwrap(), "answer");
}

/// Serves with `handler` while the script runs.
async fn serving<F>(handler: F, script: impl AsyncFnOnce(&Mesh, &mut Gateway, u32))
where
    F: AsyncFn(&Request, &ReplySender) -> Result<(), String>,
{
    let (mesh, mut gateway, _listener) = connected().await;
    let play = async {
        let subscription = gateway.subscribe().await;
        assert!(subscription.serve && subscription.max_events == 256);
        script(&mesh, &mut gateway, subscription.subscription).await;
    };
    tokio::select! {
        biased;
        () = play => {}
        served = mesh.serve("quote").concurrency(2).run_stream(handler) => panic!("{served:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_answers_and_stops_when_it_is_told() {
    let (mesh, mut gateway, _listener) = connected().await;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serve = mesh.serve("quote").group("g").until(async { drop(stopped.await) }).run(upper);
    let script = async {
        let subscribe = gateway.subscribe().await;
        assert_eq!((subscribe.serve, subscribe.group.as_str()), (true, "g"));
        gateway.ask(1, subscribe.subscription, None).await;
        let said = gateway.said().await;
        assert_eq!((said.number, said.end, text(&said)), (1, true, "QUESTION".to_owned()));
        stop.send(()).unwrap();
        assert!(matches!(gateway.next().await, Some(ClientFrame::Unsubscribe(_))));
    };
    let (served, ()) = tokio::join!(serve, script);
    served.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_fails_or_panics_is_told_to_the_requester() {
    let handler = async |request: &Request, _: &ReplySender| -> Result<(), String> {
        assert!(request.event().id() != "2", "out of order");
        Err("no such sku".to_owned())
    };
    serving(handler, async |_, gateway, wire| {
        for (number, expected) in [(1, "no such sku"), (2, "the handler panicked: out of order")] {
            gateway.ask(number, wire, None).await;
            let said = gateway.said().await;
            assert_eq!((said.code, said.message.as_str()), (ErrorKind::ResponderFailed.number(), expected));
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_hangs_is_dropped_when_nobody_waits_and_so_is_what_no_handler_has_begun() {
    let handler = async |_: &Request, _: &ReplySender| std::future::pending().await;
    serving(handler, async |_, gateway, wire| {
        for number in 1..=3 {
            gateway.ask(number, wire, None).await;
        }
        // Two handlers run; the third request waits.
        for number in [3, 1, 2] {
            gateway.cancel(number).await;
            let said = gateway.said().await;
            assert_eq!((said.number, said.end, said.code), (number, true, ErrorKind::Cancelled.number()));
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_replies_waits_for_credit_and_ends() {
    let handler = async |request: &Request, replies: &ReplySender| {
        assert!(request.wants_stream() && request.remaining() <= Duration::from_secs(5));
        for n in 0..3 {
            replies.send(Event::text("t", n.to_string())).await.map_err(|e| e.to_string())?;
        }
        Ok(())
    };
    serving(handler, async |_, gateway, wire| {
        gateway.ask(1, wire, Some(1)).await;
        assert_eq!(text(&gateway.said().await), "0");
        gateway.send(&ServerFrame::ReplyCredit(wire::ReplyCredit { number: 1, events: 2 })).await;
        assert_eq!(text(&gateway.said().await), "1");
        assert_eq!(text(&gateway.said().await), "2");
        let last = gateway.said().await;
        assert_eq!((last.end, last.code, last.event.len()), (true, 0, 0));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_may_see_that_nobody_waits_for_its_stream() {
    let seen = Cell::new(None);
    let handler = async |_: &Request, replies: &ReplySender| {
        let sent = replies.send(Event::text("t", "x")).await;
        seen.set(sent.err().map(|e| e.kind()));
        let second = replies.send(Event::text("t", "y")).await;
        assert_eq!(second.unwrap_err().kind(), ErrorKind::Closed);
        Ok(())
    };
    serving(handler, async |_, gateway, wire| {
        gateway.ask(1, wire, None).await;
        assert!(gateway.said().await.end, "a request that wants one reply has it");
        gateway.ask(2, wire, None).await;
        gateway.said().await;
    })
    .await;
    assert_eq!(seen.get(), None);
}

#[tokio::test(start_paused = true)]
async fn a_drain_lets_handlers_finish_and_sends_the_rest_back() {
    let (mesh, mut gateway, _listener) = connected().await;
    let (go, wait) = tokio::sync::oneshot::channel::<()>();
    let wait = Cell::new(Some(wait));
    let began = tokio::sync::Notify::new();
    let handler = async |request: &Request| {
        began.notify_one();
        if let Some(wait) = wait.take() {
            let _ = wait.await;
        }
        upper(request).await
    };
    let serve = mesh.serve("quote").run(handler);
    let script = async {
        let wire = gateway.subscribe().await.subscription;
        gateway.ask(1, wire, None).await;
        gateway.ask(2, wire, None).await;
        began.notified().await;
        let play = async {
            assert!(matches!(gateway.next().await, Some(ClientFrame::Credit(_))));
            let mut said = Vec::new();
            let mut go = Some(go);
            loop {
                match gateway.next().await {
                    Some(ClientFrame::Reply(reply)) => said.push((reply.number, reply.code)),
                    Some(ClientFrame::Goodbye(_)) => break said,
                    _ => {}
                }
                if let Some(go) = go.take() {
                    go.send(()).unwrap();
                }
            }
        };
        let (drained, said) = tokio::join!(mesh.close(), play);
        drained.unwrap();
        assert_eq!(said, [(2, ErrorKind::NoResponders.number()), (1, 0)]);
    };
    let (served, ()) = tokio::join!(serve, script);
    served.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_stops_serving_in_the_middle_says_so() {
    let (mesh, mut gateway, _listener) = connected().await;
    let began = tokio::sync::Notify::new();
    let serve = mesh.serve("quote").run(async |_: &Request| {
        began.notify_one();
        std::future::pending::<meshwire::Result<Event>>().await
    });
    let script = async {
        let wire = gateway.subscribe().await.subscription;
        gateway.ask(1, wire, None).await;
        began.notified().await;
    };
    tokio::select! {
        biased;
        () = script => {}
        _ = serve => panic!("it serves for ever"),
    }
    let mut codes = Vec::new();
    while codes.is_empty() {
        if let Some(ClientFrame::Reply(reply)) = gateway.next().await {
            codes.push(reply.code);
        }
    }
    assert_eq!(codes, [ErrorKind::ResponderLost.number()]);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_refuses_ends_serving_with_its_word() {
    let (mesh, mut gateway, _listener) = connected().await;
    let script = async {
        let Some(ClientFrame::Subscribe(subscribe)) = gateway.next().await else { panic!("no Subscribe") };
        let code = ErrorKind::Denied.number();
        let subscription = subscribe.subscription;
        gateway.send(&ServerFrame::Error(wire::Error { code, subscription, ..wire::Error::default() })).await;
    };
    let (served, ()) = tokio::join!(mesh.serve("quote").run(upper), script);
    let error = served.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::Denied, "serve"));
    let error = mesh.serve("quote").concurrency(0).run(upper).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test(start_paused = true)]
async fn serving_may_be_a_task_of_its_own() {
    let (mesh, mut gateway, _listener) = connected().await;
    let serving = mesh.clone();
    let task = tokio::spawn(async move {
        let serve = serving.serve("quote").concurrency(4);
        serve.run(async |request: &Request| upper(request).await).await
    });
    let subscription = gateway.subscribe().await.subscription;
    gateway.ask(1, subscription, None).await;
    assert_eq!(text(&gateway.said().await), "QUESTION");
    task.abort();
    let many = async move {
        let answer = async |_: &Request, replies: &ReplySender| replies.send(Event::text("t", "1")).await;
        mesh.serve("report").run_stream(answer).await
    };
    tokio::spawn(many).abort();
}
