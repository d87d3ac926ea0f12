//! The other server: it sends back what it gets.

use std::net::SocketAddr;

use bytes::BytesMut;
use ratchet_rs::{Message, NoExtProvider, PayloadType, SubprotocolRegistry, WebSocketConfig, accept_with};
use tokio::net::{TcpListener, TcpStream};

/// Starts it on a free port; it ends with the runtime.
pub(super) async fn start(subprotocols: [&'static str; 4]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, subprotocols));
        }
    });
    address
}

async fn serve(stream: TcpStream, subprotocols: [&'static str; 4]) {
    let config = WebSocketConfig { max_message_size: 128 * 1024 };
    let protocols = SubprotocolRegistry::new(subprotocols).unwrap();
    // What is wrong with the request it has answered itself.
    let Ok(upgrader) = accept_with(stream, config, NoExtProvider, protocols).await else { return };
    let Ok(upgraded) = upgrader.upgrade().await else { return };
    let (mut socket, mut read) = (upgraded.websocket, BytesMut::new());
    loop {
        let kind = match socket.read(&mut read).await {
            // It leaves it to its user what is text.
            Ok(Message::Text) if std::str::from_utf8(&read).is_err() => return,
            Ok(Message::Text) => PayloadType::Text,
            Ok(Message::Binary) => PayloadType::Binary,
            Ok(Message::Ping(_) | Message::Pong(_)) => continue,
            Ok(Message::Close(_)) | Err(_) => return,
        };
        if socket.write(&read, kind).await.is_err() {
            return;
        }
        read.clear();
    }
}
