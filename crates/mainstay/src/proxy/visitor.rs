//! Connections that are not relayed: what a frontend answers itself is answered elsewhere.
//!
//! Owns [`Visitor`]. Such a connection is accepted, limited and judged by rules as any other, and then leaves its worker.

use std::net::TcpStream;
use std::sync::Arc;

use mainstay_engine::endpoints::Endpoints;
use mainstay_engine::plan::FrontendId;
use mainstay_engine::serving::FrontendLoad;

use super::inspection::Inspection;
use super::shared::Admission;

/// A connection to a frontend that answers itself.
#[derive(Debug)]
pub struct Visitor {
    /// The connection; its reads and writes do not block.
    pub stream: TcpStream,
    /// Who is connected to whom; what a PROXY header says, if there was one.
    pub endpoints: Endpoints,
    /// The frontend.
    pub frontend: FrontendId,
    /// To be kept as long as the connection.
    pub presence: Presence,
}

/// A connection counts as one of its frontend's until this is dropped, and under the keys of tables that rules put it.
#[derive(Debug)]
pub struct Presence {
    admission: Admission,
    _inspection: Option<Box<Inspection>>,
}

impl Presence {
    pub(super) fn new(admission: Admission, inspection: Option<Box<Inspection>>) -> Self {
        Self { admission, _inspection: inspection }
    }

    /// The counters of its frontend.
    pub fn load(&self) -> Arc<FrontendLoad> {
        self.admission.frontend()
    }
}
