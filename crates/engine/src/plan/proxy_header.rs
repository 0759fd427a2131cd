//! What a server is told of the client before its first byte.

/// The PROXY header that a server expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// How it is written.
    pub version: ProxyVersion,
    /// Version 2 only: it ends with a CRC-32C of itself (`crc32c`).
    pub checksum: bool,
    /// Version 2 only: it passes on the name that a header from the client's side had (`authority`).
    pub authority: bool,
    /// Version 2 only: it has a unique id, which is empty as long as nothing makes one (`unique-id`).
    pub unique_id: bool,
    /// Version 2 only: it says that the client spoke no TLS to us (`ssl`, `cert-cn` and the like).
    pub tls: bool,
}

/// How a PROXY header is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    /// A line of text (`send-proxy`).
    V1,
    /// Binary (`send-proxy-v2`).
    V2,
}

impl ProxyHeader {
    /// A header of this version and nothing further.
    pub const fn new(version: ProxyVersion) -> Self {
        Self { version, checksum: false, authority: false, unique_id: false, tls: false }
    }
}
