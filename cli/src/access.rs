//! How a command gets to its gateway: TLS, a proxy, a token.

use std::path::PathBuf;

use clap::Args;
use meshwire::Connect;

/// Those of TLS begin with `MESHWIRE_CLIENT_`: without it they are the gateway's own.
#[derive(Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Access {
    /// Trust the certificates of this PEM file, in place of the system's roots. As all of TLS it
    /// is refused for another host's URL without TLS; for this machine's it is not used.
    #[arg(long, value_name = "FILE", env = "MESHWIRE_CLIENT_TLS_ROOTS", hide_env_values = true)]
    tls_roots: Option<PathBuf>,
    /// Show the certificate of this PEM file.
    #[arg(
        long,
        value_name = "FILE",
        env = "MESHWIRE_CLIENT_TLS_CERTIFICATE",
        hide_env_values = true,
        requires = "tls_key"
    )]
    tls_certificate: Option<PathBuf>,
    /// PEM file of its private key.
    #[arg(
        long,
        value_name = "FILE",
        env = "MESHWIRE_CLIENT_TLS_KEY",
        hide_env_values = true,
        requires = "tls_certificate"
    )]
    tls_key: Option<PathBuf>,
    /// The name that the gateway's certificate must have. Default: the URL's host.
    #[arg(long, value_name = "NAME", env = "MESHWIRE_CLIENT_TLS_SERVER_NAME", hide_env_values = true)]
    tls_server_name: Option<String>,
    /// Go through this HTTP proxy; none: through no proxy. Default: as HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY
    /// say.
    #[arg(long, value_name = "URL", env = "MESHWIRE_PROXY", hide_env_values = true)]
    proxy: Option<String>,
    /// Log in with the bearer token in this file. It is sent over TLS, or in plain to this machine.
    #[arg(long, value_name = "FILE", env = "MESHWIRE_TOKEN_FILE", hide_env_values = true)]
    token_file: Option<PathBuf>,
}

/// An empty variable counts as absent.
fn given<T: AsRef<std::ffi::OsStr>>(value: Option<&T>) -> Option<&T> {
    value.filter(|value| !value.as_ref().is_empty())
}

impl Access {
    pub(crate) fn apply(&self, mut connect: Connect) -> Connect {
        if let Some(file) = given(self.tls_roots.as_ref()) {
            connect = connect.tls_roots(file);
        }
        if let (Some(certificate), Some(key)) = (given(self.tls_certificate.as_ref()), given(self.tls_key.as_ref())) {
            connect = connect.tls_certificate(certificate, key);
        }
        if let Some(name) = given(self.tls_server_name.as_ref()) {
            connect = connect.tls_server_name(name);
        }
        if let Some(url) = given(self.proxy.as_ref()) {
            connect = connect.proxy(url);
        }
        if let Some(file) = given(self.token_file.as_ref()) {
            connect = connect.token_file(file);
        }
        connect
    }
}
