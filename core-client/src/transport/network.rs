//! Connections over a network: TCP, what TLS makes of it, and what a session travels in.

use std::io;
use std::sync::Arc;

#[cfg(feature = "grpc")]
use super::grpc;
#[cfg(feature = "tls")]
use super::tls::Tls;
#[cfg(feature = "websocket")]
use super::websocket;
use super::{Dial, DialError, Dialing, Stream, tcp};
use crate::address::{Carrier, Endpoint};

/// Dials one endpoint.
#[derive(Debug)]
pub(crate) struct Network {
    endpoint: Arc<Endpoint>,
    #[cfg(feature = "tls")]
    tls: Option<Arc<Tls>>,
}

impl Network {
    /// To an endpoint; one inside TLS needs `tls`.
    pub(crate) fn new(endpoint: Endpoint, #[cfg(feature = "tls")] tls: Option<Tls>) -> Self {
        Self {
            endpoint: Arc::new(endpoint),
            #[cfg(feature = "tls")]
            tls: tls.map(Arc::new),
        }
    }
}

impl Dial for Network {
    fn dial(&self) -> Dialing {
        let endpoint = Arc::clone(&self.endpoint);
        #[cfg(feature = "tls")]
        let tls = self.tls.clone();
        Box::pin(async move {
            let failed = |cause: io::Error| DialError { attempts: vec![(endpoint.address.clone(), cause)] };
            let stream: Box<dyn Stream> = Box::new(tcp::connect(&endpoint.address).await?);
            #[cfg(feature = "tls")]
            let stream = match tls {
                Some(tls) => tls.connect(stream).await.map_err(failed)?,
                None => stream,
            };
            match endpoint.carrier {
                Carrier::Tcp => Ok(stream),
                #[cfg(feature = "grpc")]
                Carrier::Grpc => grpc::call(&endpoint.address, endpoint.secure, stream).await.map_err(failed),
                #[cfg(feature = "websocket")]
                Carrier::WebSocket => {
                    websocket::upgrade(&endpoint.address, endpoint.secure, stream).await.map_err(failed)
                }
            }
        })
    }

    fn address(&self) -> &str {
        &self.endpoint.address
    }
}
