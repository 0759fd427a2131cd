//! Servers and clients that speak real TLS.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio_rustls::rustls::pki_types::{PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};

use crate::proxy_rig::connect;

/// A server with a certificate of its own.
pub(super) struct TlsServer {
    pub(super) address: SocketAddr,
    name: &'static str,
    client: Arc<ClientConfig>,
}

/// A server for `host` that says `name` in TLS.
pub(super) fn server(host: &'static str, name: u8) -> TlsServer {
    let certified = rcgen::generate_simple_self_signed(vec![host.to_owned()]).unwrap();
    let certificate = certified.cert.der().clone();
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let server =
        ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    let server = Arc::new(server);
    let address = crate::proxy_rig::server(move |stream| {
        let connection = ServerConnection::new(Arc::clone(&server)).unwrap();
        let _ = StreamOwned::new(connection, stream).write_all(&[name]);
    });
    TlsServer { address, name: host, client: Arc::new(client) }
}

/// What a client hears that asks for `server` at `address`, and sends its hello in chunks of so many bytes.
pub(super) fn ask(server: &TlsServer, address: SocketAddr, chunk: usize) -> u8 {
    let host = ServerName::try_from(server.name).unwrap();
    let mut connection = ClientConnection::new(Arc::clone(&server.client), host).unwrap();
    let mut stream = connect(address);
    let mut hello = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut hello).unwrap();
    }
    for part in hello.chunks(chunk) {
        stream.write_all(part).unwrap();
        if chunk < hello.len() {
            thread::sleep(Duration::from_millis(5));
        }
    }
    let mut byte = [0];
    StreamOwned::new(connection, stream).read_exact(&mut byte).unwrap();
    byte[0]
}
