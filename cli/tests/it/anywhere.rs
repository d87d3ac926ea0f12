//! S14 and S80: one program says the same wherever its gateway is and whatever leads there; only its environment knows.

use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use meshwire::{Event, GroupSettings, Mesh, Request, Start};
use meshwire_certificates::SelfSigned;
use tokio::runtime::{Builder, Runtime};

use crate::middlebox::Proxy;
use crate::program::{Gateway, Program, meshwire};

/// Set for the process that is the program.
const PROGRAM: &str = "MESHWIRE_TEST_PROGRAM";
/// Before each line of the program, as the harness says things too.
const MARK: &str = "| ";

fn say(line: impl std::fmt::Display) {
    println!("\n{MARK}{line}");
}

/// Publishes, consumes, asks and administers, and says what came of it: no URL is in it.
async fn program() -> meshwire::Result<()> {
    let mesh = meshwire::connect("").await?;
    let mut billing = mesh.subscribe("orders").group("billing").settings(GroupSettings::default()).await?;
    for (n, data) in ["one", "", "three \u{1F600}", "one"].into_iter().enumerate() {
        let event =
            Event::text("order", data).id((n % 3).to_string()).source("/shop").key("k").attribute("n", format!("{n}"));
        let receipt = mesh.publish("orders", event).await?;
        say(format!("kept at {:?}, duplicate: {}", receipt.position, receipt.duplicate));
    }
    for _ in 0..3 {
        let Some(delivery) = billing.try_next().await? else { break };
        let (event, text) = (delivery.event(), delivery.text()?.to_owned());
        say(format!("{} {} {} {text:?}, attempt {}", event.id(), event.source(), event.kind(), delivery.attempt()));
        delivery.ack_confirmed().await?;
    }
    replay(&mesh).await?;
    ask(&mesh).await?;
    let error = mesh.subscribe("no topic").await.unwrap_err();
    say(format!("{}: {}", error.kind(), error.message()));
    let topic = mesh.topics().get("orders").await?;
    say(format!(
        "{} from {:?} to {:?}, lag {:?}",
        topic.name,
        topic.first,
        topic.next,
        topic.groups.first().map(|g| g.lag)
    ));
    mesh.close().await
}

async fn replay(mesh: &Mesh) -> meshwire::Result<()> {
    let mut all = mesh.subscribe("orders").start(Start::Earliest).await?;
    for _ in 0..3 {
        let Some(delivery) = all.try_next().await? else { break };
        say(format!("read again {}", delivery.id()));
        delivery.ack();
    }
    Ok(())
}

async fn ask(mesh: &Mesh) -> meshwire::Result<()> {
    let ask = || mesh.request("quote", Event::text("question", "how much?"));
    say(format!("nobody serves: {}", ask().await.unwrap_err().kind()));
    let answer =
        async |request: &Request| Ok::<_, meshwire::Error>(Event::text("answer", request.text()?.to_uppercase()));
    let asking = async {
        loop {
            match ask().await {
                Ok(reply) => return reply.text().map(str::to_owned),
                // The responder is on its way.
                Err(error) if error.kind() == meshwire::ErrorKind::NoResponders => {}
                Err(error) => return Err(error),
            }
        }
    };
    let reply = tokio::select! {
        served = mesh.serve("quote").run(answer) => panic!("{served:?}"),
        reply = asking => reply?,
    };
    say(format!("answered: {reply}"));
    Ok(())
}

/// This test is the program as well: in a process of its own, which finds [`PROGRAM`].
#[test]
fn the_program_runs_where_its_environment_says() {
    if std::env::var(PROGRAM).is_ok() {
        return runtime().block_on(program()).unwrap();
    }
    let gateway = Gateway::start();
    assert!(output(&[("MESHWIRE_URL", &gateway.url)]).len() >= 12);
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// What the program says in this environment.
fn output(environment: &[(&str, &str)]) -> Vec<String> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env_clear().env(PROGRAM, "1").envs(environment.iter().copied());
    command.args(["anywhere::the_program_runs_where_its_environment_says", "--exact", "--nocapture"]);
    let ended = Program::spawn(command).end();
    assert_eq!(ended.code, Some(0), "{environment:?}: {}{}", ended.out, ended.err);
    ended.lines().iter().filter_map(|line| line.strip_prefix(MARK)).map(str::to_owned).collect()
}

#[test]
fn s14_one_program_says_the_same_over_every_scheme_plain_and_tls_and_without_one() {
    let files = SelfSigned::of("localhost");
    let (certificate, key) = (files.certificate.to_str().unwrap(), files.key.to_str().unwrap());
    let mut first = None;
    let schemes =
        ["mesh://", "tcp://", "grpc://", "ws://", "http://", "", "meshs://", "grpcs://", "wss://", "https://"];
    for scheme in schemes {
        // What they leave behind would be another output.
        let tls = ["--tls", "both", "--tls-certificate", certificate, "--tls-key", key];
        let gateway = Gateway::with(&[&["--memory"], &tls[..]].concat());
        let (_, port) = gateway.address.rsplit_once(':').unwrap();
        let url = format!("{scheme}localhost:{port}");
        // Where programs on this system look for the roots that they trust.
        let said = output(&[("MESHWIRE_URL", &url), ("SSL_CERT_FILE", certificate)]);
        assert!(said.len() >= 12, "{scheme}: {said:#?}");
        assert_eq!(&said, first.get_or_insert_with(|| said.clone()), "{scheme}");
    }
}

/// A gateway where one is by default; `None`: something else has the port all the time.
fn beside() -> Option<Gateway> {
    const ADDRESS: &str = "127.0.0.1:7400";
    let patience = Instant::now() + Duration::from_secs(20);
    while Instant::now() < patience {
        if TcpListener::bind(ADDRESS).is_ok() {
            let mut program = Program::spawn(meshwire(&["serve", "--listen", ADDRESS, "--memory"]));
            if program.line_within(Duration::from_secs(20)).is_some() {
                let (address, url) = (ADDRESS.to_owned(), format!("mesh://{ADDRESS}"));
                return Some(Gateway { program, address, url });
            }
        }
        // Somebody else's test may be using it.
        std::thread::yield_now();
    }
    None
}

#[test]
fn s80_one_program_says_the_same_beside_its_gateway_and_through_a_proxy_to_a_central_one() {
    let Some(sidecar) = beside() else {
        println!("skipped: needs port 7400");
        return;
    };
    // Nothing at all is said of where it is.
    let said = output(&[]);
    assert!(said.len() >= 12, "{said:#?}");
    drop(sidecar);
    let runtime = runtime();
    for scheme in ["mesh", "grpc", "ws", "http"] {
        let central = Gateway::with(&["--memory", "--http-hosts", "gateway.invalid"]);
        let proxy = runtime.block_on(Proxy::before(central.address.parse().unwrap()));
        let url = format!("{scheme}://gateway.invalid:7400");
        let through = format!("http://user:password@{}", proxy.address);
        assert_eq!(output(&[("MESHWIRE_URL", &url), ("HTTP_PROXY", &through)]), said, "{scheme}");
        assert!(proxy.asked().contains(&"gateway.invalid:7400 200 OK".to_owned()), "{:?}", proxy.asked());
    }
}

#[test]
fn a_gateway_on_this_machine_is_found_behind_one_whose_proxy_refuses() {
    let gateway = Gateway::start();
    let proxy = runtime();
    let proxy = (proxy.block_on(Proxy::before(gateway.address.parse().unwrap())), proxy);
    let url = format!("mesh://a.invalid,b.invalid,{}", gateway.address);
    let through = format!("http://somebody:else@{}", proxy.0.address);
    let said = output(&[("MESHWIRE_URL", &url), ("HTTP_PROXY", &through)]);
    assert!(said.len() >= 12, "{said:#?}");
    assert_eq!(proxy.0.asked(), ["a.invalid:7400 407 Proxy Authentication Required"]);
}
