//! The daemon's end of the admin socket.
//!
//! Owns [`AdminSocket`]: who may connect (its owner), how many at once, how long a line may be, how long nothing may
//! happen.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::protocol::{self, Line, REQUEST_BYTES};
use crate::control::{Command, Mailbox};

/// Operators and monitors at once.
const CONNECTIONS: usize = 32;

/// How long a connection may stay silent, or leave an answer unread.
const IDLE_PATIENCE: Duration = Duration::from_secs(30);

/// How long the control thread may take to answer; usually it takes microseconds.
const CONTROL_PATIENCE: Duration = Duration::from_secs(5);

/// How long to wait before accepting again when the process has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Only its owner may connect.
const MODE: u32 = 0o600;

/// The socket, bound but not yet answering. Its file goes when it is dropped.
#[derive(Debug)]
pub struct AdminSocket {
    listener: std::os::unix::net::UnixListener,
    file: SocketFile,
}

/// Removes the file of a socket at the end.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl AdminSocket {
    /// Binds `path`. A socket that nobody listens on any more is replaced, its directory made if it is missing.
    ///
    /// # Errors
    /// A sentence that names the path.
    pub fn bind(path: &Path) -> Result<Self, String> {
        bind(path).map_err(|error| format!("cannot listen on the admin socket {}: {error}", path.display()))
    }

    /// Answers on `runtime` until the daemon ends. The file is the caller's from here on.
    ///
    /// # Errors
    /// The kernel's.
    pub fn serve(self, runtime: &Handle, mailbox: Mailbox) -> io::Result<SocketFile> {
        let _context = runtime.enter();
        let listener = UnixListener::from_std(self.listener)?;
        runtime.spawn(accept(listener, mailbox));
        Ok(self.file)
    }
}

fn bind(path: &Path) -> io::Result<AdminSocket> {
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        fs::create_dir_all(directory)?;
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => return Err(io::Error::new(io::ErrorKind::AddrInUse, "another mainstay answers there")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => remove_stale(path)?,
        Err(error) => return Err(error),
    }
    // Nobody may connect between bind and chmod: it gets its name only afterwards.
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".{}", std::process::id()));
    let unfinished = SocketFile(unfinished.into());
    let listener = std::os::unix::net::UnixListener::bind(&unfinished.0)?;
    listener.set_nonblocking(true)?;
    fs::set_permissions(&unfinished.0, Permissions::from_mode(MODE))?;
    fs::rename(&unfinished.0, path)?;
    Ok(AdminSocket { listener, file: SocketFile(path.to_owned()) })
}

/// The kernel also refuses a connection to a file that is no socket, and such a file is not ours to remove.
fn remove_stale(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.file_type().is_socket() {
        fs::remove_file(path)
    } else {
        Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"))
    }
}

async fn accept(listener: UnixListener, mailbox: Mailbox) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!("cannot accept an admin connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let mailbox = mailbox.clone();
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            tokio::spawn(async move {
                converse(stream, &mailbox).await;
                drop(place);
            });
        } else {
            // Refused without waiting for a request.
            let answer = protocol::error(&format!("{CONNECTIONS} operators are connected already"));
            let _ = stream.try_write(format!("{answer}\n").as_bytes());
        }
    }
}

/// Answers line after line until the operator hangs up, is silent for too long, or sends too long a line.
async fn converse(stream: UnixStream, mailbox: &Mailbox) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    loop {
        let Ok(Some(line)) = timeout(IDLE_PATIENCE, read_line(&mut reader)).await else { return };
        let too_long = line.len() > REQUEST_BYTES;
        let answer = answer(&line, mailbox).await;
        let Ok(true) = timeout(IDLE_PATIENCE, write_line(&mut writer, answer)).await else { return };
        if too_long {
            return;
        }
    }
}

/// The next line, its first [`REQUEST_BYTES`] and one more if it is longer; `None` at the end.
async fn read_line(reader: &mut BufReader<OwnedReadHalf>) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    let limit = u64::try_from(REQUEST_BYTES).unwrap_or(u64::MAX) + 1;
    match reader.take(limit).read_until(b'\n', &mut line).await {
        Ok(length) if length > 0 => Some(line),
        _ => None,
    }
}

async fn write_line(writer: &mut OwnedWriteHalf, mut line: String) -> bool {
    line.push('\n');
    writer.write_all(line.as_bytes()).await.is_ok()
}

async fn answer(line: &[u8], mailbox: &Mailbox) -> String {
    let request = match protocol::parse(line) {
        Ok(Line::Request(request)) => request,
        Ok(Line::Help) => return protocol::help(),
        Err(sentence) => return protocol::error(&sentence),
    };
    let (answer, answered) = oneshot::channel();
    mailbox.post(Command::Request { request, answer });
    match timeout(CONTROL_PATIENCE, answered).await {
        Ok(Ok(reply)) => protocol::reply(&reply),
        Ok(Err(_)) => protocol::error("mainstay is exiting"),
        Err(_) => protocol::error("the control thread does not answer"),
    }
}
