//! The lab's certificate authority and the certificate of its apiservers, made anew for each lab.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio_rustls::rustls::pki_types::CertificateDer;

use super::error::{Context, Result};
use super::topology::VIRTUAL_ADDRESS;

/// The endpoint's name in the recipe.
pub const ENDPOINT_NAME: &str = "kube-control.kacangisnuts.com";

/// Whom the clients believe, and what the apiservers show.
#[derive(Debug)]
pub struct Certificates {
    /// The authority's own certificate.
    pub authority: CertificateDer<'static>,
    /// DER file with the apiservers' certificate.
    pub certificate: PathBuf,
    /// DER file with its key.
    pub key: PathBuf,
}

impl Certificates {
    /// Makes them and writes them to `directory`. Apiservers also go by their own `addresses`.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn make(directory: &Path, addresses: &[String]) -> Result<Self> {
        let authority_key = KeyPair::generate().context("cannot make a key")?;
        let mut authority = CertificateParams::new(Vec::new()).context("cannot describe the authority")?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(rcgen::DnType::CommonName, "kubernetes");
        let authority_certificate =
            authority.self_signed(&authority_key).context("cannot sign the authority")?;

        let mut names = vec![ENDPOINT_NAME.to_owned(), VIRTUAL_ADDRESS.to_string()];
        names.extend_from_slice(addresses);
        let key = KeyPair::generate().context("cannot make a key")?;
        let mut server = CertificateParams::new(names).context("cannot describe the apiserver")?;
        server.distinguished_name.push(rcgen::DnType::CommonName, "kube-apiserver");
        let issuer = Issuer::new(authority, authority_key);
        let certificate = server.signed_by(&key, &issuer).context("cannot sign the apiserver")?;

        let made = Self {
            authority: authority_certificate.der().clone(),
            certificate: directory.join("apiserver.crt.der"),
            key: directory.join("apiserver.key.der"),
        };
        fs::write(&made.certificate, certificate.der()).context("cannot write the certificate")?;
        fs::write(&made.key, key.serialize_der()).context("cannot write the key")?;
        Ok(made)
    }
}
