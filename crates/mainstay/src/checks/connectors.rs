//! The TLS connectors of all checks, one for each way of speaking TLS.
//!
//! Owns [`Connectors`]. Those the plan needs are made before anything starts, so that a file that cannot be read is known
//! then; a server that is added later may need another one.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use mainstay_engine::plan::TlsCheck;

use crate::checks::tls::{Authorities, Connector};

/// Connectors, by what they do.
#[derive(Debug, Default)]
pub(super) struct Connectors {
    made: Mutex<Made>,
}

#[derive(Debug, Default)]
struct Made {
    authorities: Authorities,
    connectors: HashMap<TlsCheck, Connector>,
}

impl Connectors {
    /// The connector for `tls`, made if there is none yet. The error is a sentence for whoever wrote the configuration.
    pub(super) fn get(&self, tls: &TlsCheck) -> Result<Connector, String> {
        // A panic under this lock leaves it whole: every change is one call.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connector) = made.connectors.get(tls) {
            return Ok(connector.clone());
        }
        let connector = Connector::new(tls, &mut made.authorities)?;
        made.connectors.insert(tls.clone(), connector.clone());
        Ok(connector)
    }
}
