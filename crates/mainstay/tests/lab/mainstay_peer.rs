//! mainstay as one side of a pair.

use std::fs;
use std::process::Command;

use mainstay_engine::admin::Status;

use super::vrrp_peer::{Process, Side, VrrpPeer};

const MAINSTAY: &str = env!("CARGO_BIN_EXE_mainstay");

/// A mainstay that may be running.
pub(crate) struct Mainstay {
    side: Side,
    process: Option<Process>,
}

impl Mainstay {
    /// Writes its file, `keywords` in the instance; starts nothing yet.
    pub(crate) fn install(side: Side, keywords: &str) -> Self {
        fs::write(side.file("conf"), side.keepalived_conf(keywords)).expect("a file");
        Self { side, process: None }
    }

    fn status(&self) -> Result<Status, String> {
        let mut command = Command::new(MAINSTAY);
        command.args(["status", "--json", "--socket"]).arg(self.side.file("sock"));
        let output = command.output().map_err(|error| error.to_string())?;
        serde_json::from_slice(&output.stdout).map_err(|error| {
            format!("`mainstay status` does not answer: {error}: {}", String::from_utf8_lossy(&output.stderr))
        })
    }
}

impl VrrpPeer for Mainstay {
    fn start(&mut self) {
        let mut command = Command::new(MAINSTAY);
        command.args(["run", "--keepalived-conf"]).arg(self.side.file("conf"));
        command.arg("--socket").arg(self.side.file("sock"));
        self.process = Some(Process::start(&self.side, command));
    }

    fn stop(&mut self) {
        self.process.take().expect("it runs").stop();
    }

    fn kill(&mut self) {
        self.process.take().expect("it runs").kill();
    }

    fn complaints(&self) -> Vec<String> {
        match self.status() {
            Ok(status) => {
                let refused = status.routers.iter().flat_map(|router| &router.refused);
                refused.map(|refused| format!("{} refused: {}", refused.count, refused.latest)).collect()
            }
            Err(sentence) => vec![sentence],
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.side.file("log")).unwrap_or_default()
    }
}
