//! The operator's end of the admin socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long the daemon may take: longer than it gives itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest answer: a status of some ten thousand servers.
const ANSWER_BYTES: u64 = 16 << 20;

/// Sends `command` to the daemon behind the socket at `path` and returns its answer, one line of JSON.
///
/// # Errors
/// A sentence with a hint for the operator.
pub fn ask(path: &Path, command: &str) -> Result<String, String> {
    exchange(path, command).map_err(|error| explain(path, &error))
}

fn exchange(path: &Path, command: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(format!("{command}\n").as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream.take(ANSWER_BYTES)).read_line(&mut answer)?;
    if answer.is_empty() {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
    }
    Ok(answer.trim_end().to_owned())
}

fn explain(path: &Path, error: &io::Error) -> String {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::NotFound => {
            format!(
                "mainstay does not run here, or listens elsewhere: there is no {path}\nhint: start it with `mainstay run`, or say where its socket is with `--socket PATH`"
            )
        }
        io::ErrorKind::ConnectionRefused => {
            format!(
                "mainstay does not run any more: nobody listens on {path}\nhint: its log says why it ended"
            )
        }
        io::ErrorKind::PermissionDenied => {
            format!(
                "only the user that runs mainstay may talk to it through {path}\nhint: try again with sudo"
            )
        }
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            format!("mainstay did not answer through {path} within {} s", PATIENCE.as_secs())
        }
        io::ErrorKind::UnexpectedEof => format!("mainstay hung up without an answer on {path}"),
        _ => format!("cannot talk to mainstay through {path}: {error}"),
    }
}
