//! The TLS side of checks: whom to believe, the handshake, and its failures in words.
//!
//! TLS 1.2 and 1.3 with ring. Sessions are never resumed: a resumed one would not show a new certificate. Two things are
//! stricter than HAProxy's: with a `ca-file` the certificate has to name the server's address when no name is given
//! (HAProxy then looks at no name at all), and a self-signed one of type `CA:TRUE` does not pass as a server's.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use mainstay_engine::health::check::CheckStatus;
use mainstay_engine::plan::{TlsCheck, Verify};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::{Resumption, WebPkiServerVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use crate::checks::Finding;
use crate::checks::connect::words;

/// Files of authorities, each read once.
#[derive(Debug, Default)]
pub(super) struct Authorities {
    files: BTreeMap<String, Arc<RootCertStore>>,
}

impl Authorities {
    fn load(&mut self, path: &str) -> Result<Arc<RootCertStore>, String> {
        if let Some(store) = self.files.get(path) {
            return Ok(Arc::clone(store));
        }
        let store = Arc::new(read_authorities(path).map_err(|reason| format!("ca-file {path}: {reason}"))?);
        self.files.insert(path.to_owned(), Arc::clone(&store));
        Ok(store)
    }
}

/// Makes TLS connections of one kind.
#[derive(Clone)]
pub(super) struct Connector {
    connector: TlsConnector,
    /// Whom to ask for; the address when nobody.
    name: Option<ServerName<'static>>,
}

impl Connector {
    /// The error is a sentence for whoever wrote the configuration.
    pub(super) fn new(tls: &TlsCheck, authorities: &mut Authorities) -> Result<Self, String> {
        let provider = Arc::new(ring::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = match &tls.verify {
            Verify::None => Arc::new(BelieveAnyone(Arc::clone(&provider))),
            Verify::Authority(path) => verifier(authorities.load(path)?, path, &provider)?,
            Verify::System => verifier(authorities.load(SYSTEM_AUTHORITIES)?, SYSTEM_AUTHORITIES, &provider)?,
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &tls.certificate {
            None => config.with_no_client_auth(),
            Some(path) => {
                let (chain, key) = read_identity(path).map_err(|reason| format!("crt {path}: {reason}"))?;
                config.with_client_auth_cert(chain, key).map_err(|error| format!("crt {path}: {error}"))?
            }
        };
        config.alpn_protocols = tls.alpn.iter().map(|protocol| protocol.clone().into_bytes()).collect();
        config.resumption = Resumption::disabled();
        let name = tls.server_name.as_ref().map(|name| {
            ServerName::try_from(name.clone())
                .map_err(|_| format!("`{name}` is neither a host name nor an address"))
        });
        let name = name.transpose()?;
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name })
    }

    /// Shakes hands on a fresh connection to `address`.
    pub(super) async fn handshake(
        &self,
        stream: TcpStream,
        address: SocketAddr,
    ) -> Result<TlsStream<TcpStream>, Finding> {
        let name = self.name.clone().unwrap_or_else(|| ServerName::from(address.ip()));
        let shaken = self.connector.connect(name, stream).await;
        shaken.map_err(|error| Finding::new(CheckStatus::L6Rsp, failure(&error)))
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("name", &self.name).finish_non_exhaustive()
    }
}

/// `verify none`: takes any certificate from anyone, even a broken one. Such a check finds out whether the server speaks
/// TLS and answers, not who it is. Nothing secret is sent on a check's connection.
#[derive(Debug)]
struct BelieveAnyone(Arc<CryptoProvider>);

impl ServerCertVerifier for BelieveAnyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Where Debian and its relatives keep the authorities of the machine (`ca-file @system-ca`).
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

fn verifier(
    store: Arc<RootCertStore>,
    path: &str,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let verifier = WebPkiServerVerifier::builder_with_provider(store, Arc::clone(provider)).build();
    Ok(verifier.map_err(|error| format!("ca-file {path}: {error}"))?)
}

/// The certificates and the key of a PEM file.
fn read_identity(path: &str) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| unreadable(&error))?;
    let chain = certificates.collect::<Result<Vec<_>, _>>().map_err(|error| unreadable(&error))?;
    if chain.is_empty() {
        return Err("holds no certificate".to_owned());
    }
    let key = PrivateKeyDer::from_pem_file(path).map_err(|error| match error {
        pem::Error::NoItemsFound => "holds no key".to_owned(),
        error => unreadable(&error),
    })?;
    Ok((chain, key))
}

fn read_authorities(path: &str) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    for (number, certificate) in
        (1..).zip(CertificateDer::pem_file_iter(path).map_err(|error| unreadable(&error))?)
    {
        let certificate = certificate.map_err(|error| unreadable(&error))?;
        store.add(certificate).map_err(|error| format!("certificate {number} is no authority: {error}"))?;
    }
    if store.is_empty() { Err("holds no certificate".to_owned()) } else { Ok(store) }
}

fn unreadable(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => format!("cannot be read: {}", words(error)),
        error => format!("is not PEM: {error}"),
    }
}

/// Why a handshake failed.
fn failure(error: &io::Error) -> String {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match tls {
        Some(Error::InvalidCertificate(reason)) => certificate_failure(reason),
        Some(Error::AlertReceived(alert)) => format!("the server refused the TLS handshake: {alert:?}"),
        Some(Error::InvalidMessage(_)) => "the answer is not TLS".to_owned(),
        Some(Error::PeerIncompatible(reason)) => format!("no TLS in common: {reason:?}"),
        Some(error) => error.to_string(),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "connection closed during the TLS handshake".to_owned()
        }
        None => words(error),
    }
}

fn certificate_failure(reason: &CertificateError) -> String {
    match reason {
        CertificateError::NotValidForNameContext { expected, presented } if presented.is_empty() => {
            format!("certificate names nobody, so not {}", expected.to_str())
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names: Vec<_> = presented.iter().map(|name| bare_name(name)).collect();
            format!("certificate is valid for {}, not {}", names.join(", "), expected.to_str())
        }
        CertificateError::ExpiredContext { time, not_after } => {
            format!("certificate expired {} ago", span(time.as_secs().saturating_sub(not_after.as_secs())))
        }
        CertificateError::NotValidYetContext { time, not_before } => {
            format!(
                "certificate is not valid before {} from now",
                span(not_before.as_secs().saturating_sub(time.as_secs()))
            )
        }
        CertificateError::UnknownIssuer => "certificate is signed by an unknown authority".to_owned(),
        // Every cluster's authority is called "kubernetes", so this is how one of another cluster shows.
        CertificateError::BadSignature => {
            "certificate is signed by another authority of the same name as the known one".to_owned()
        }
        // OpenSSL would take a certificate that is in the file itself. The library has no public name for this reason.
        reason if reason.to_string().contains("CaUsedAsEndEntity") => {
            "the server shows the certificate of an authority (CA:TRUE), not one that an authority signed for it"
                .to_owned()
        }
        reason => format!("certificate is not valid: {reason}"),
    }
}

/// The library says `DnsName("example.com")` or `IpAddress(192.0.2.1)`.
fn bare_name(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
    inner.trim_matches('"')
}

/// A number of seconds in the largest unit that fits.
fn span(seconds: u64) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    match seconds {
        0..MINUTE => format!("{seconds} s"),
        MINUTE..HOUR => format!("{} min", seconds / MINUTE),
        HOUR..DAY => format!("{} h", seconds / HOUR),
        DAY.. => format!("{} d", seconds / DAY),
    }
}
