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
use crate::control::{Command, CommandBox};

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
    pub fn serve(self, runtime: &Handle, mailbox: CommandBox) -> io::Result<SocketFile> {
        let _context = runtime.enter();
        let listener = UnixListener::from_std(self.listener)?;
        runtime.spawn(accept(listener, mailbox, IDLE_PATIENCE));
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

async fn accept(listener: UnixListener, mailbox: CommandBox, patience: Duration) {
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
                converse(stream, &mailbox, patience).await;
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
async fn converse(stream: UnixStream, mailbox: &CommandBox, patience: Duration) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    loop {
        let Ok(Some(line)) = timeout(patience, read_line(&mut reader)).await else { return };
        let too_long = line.len() > REQUEST_BYTES;
        let answer = answer(&line, mailbox).await;
        let Ok(true) = timeout(patience, write_line(&mut writer, answer)).await else { return };
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

async fn answer(line: &[u8], mailbox: &CommandBox) -> String {
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

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, Read as _, Write as _};
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream as Operator;
    use std::thread;
    use std::time::Instant;

    use proptest::prelude::*;
    use serde_json::Value;
    use tokio::runtime::Runtime;

    use super::*;
    use crate::mailbox::mailbox;

    /// Longer than anything here takes; a test that needs it fails.
    const TIMELY: Duration = Duration::from_secs(10);

    /// For operators who are silent on purpose.
    const SHORT: Duration = Duration::from_millis(100);

    /// A daemon whose control thread has ended, so that it says of everything it understands that it is exiting.
    struct Daemon {
        file: SocketFile,
        _runtime: Runtime,
    }

    fn daemon(name: &str, patience: Duration) -> Daemon {
        let path = std::env::temp_dir().join(format!("mainstay-admin-{}-{name}", std::process::id()));
        let AdminSocket { listener, file } = AdminSocket::bind(&path).unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (mailbox, _) = mailbox().unwrap();
        runtime.spawn(async move {
            accept(UnixListener::from_std(listener).unwrap(), mailbox, patience).await;
        });
        Daemon { file, _runtime: runtime }
    }

    impl Daemon {
        fn connect(&self) -> Operator {
            let operator = Operator::connect(&self.file.0).unwrap();
            operator.set_read_timeout(Some(TIMELY)).unwrap();
            operator.set_write_timeout(Some(TIMELY)).unwrap();
            operator
        }
    }

    /// The next line, which has to be one JSON object with one key: that key and its value.
    fn answer(operator: &Operator) -> (String, Value) {
        let mut line = String::new();
        // Answers come one at a time, so the reader buffers nothing that is wanted later.
        io::BufReader::new(operator).read_line(&mut line).unwrap();
        let Ok(Value::Object(object)) = serde_json::from_str(&line) else { panic!("no object: {line:?}") };
        assert_eq!(object.len(), 1, "{line}");
        object.into_iter().next().unwrap()
    }

    fn ask(mut operator: &Operator, request: &[u8]) -> (String, Value) {
        operator.write_all(request).unwrap();
        answer(operator)
    }

    fn error(sentence: &str) -> (String, Value) {
        ("error".to_owned(), sentence.into())
    }

    /// Nothing more comes. A reset is what hanging up looks like when something was left unread.
    fn assert_hung_up(mut operator: &Operator) {
        let mut rest = Vec::new();
        let ended = match operator.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        };
        assert!(ended && rest.is_empty(), "the connection is still there, after {rest:?}");
    }

    #[test]
    fn any_line_is_answered_and_the_conversation_goes_on() {
        let daemon = daemon("any-line", TIMELY);
        let operator = daemon.connect();
        let byte = any::<u8>().prop_filter("a newline ends the line", |&byte| byte != b'\n');
        proptest!(|(line in prop::collection::vec(byte, 0..REQUEST_BYTES))| {
            let mut request = line.clone();
            request.push(b'\n');
            let (key, _) = ask(&operator, &request);
            prop_assert!(key == "error", "{line:?} is answered with {key}");
        });
        assert_eq!(ask(&operator, b"status\n"), error("mainstay is exiting"));
        assert_eq!(ask(&operator, b"help\n").0, "commands");
    }

    #[test]
    fn an_overlong_line_is_refused_before_it_ends_and_ends_the_conversation() {
        let daemon = daemon("overlong", TIMELY);
        let operator = daemon.connect();
        let mut writer = operator.try_clone().unwrap();
        // Fails somewhere on the way, when the daemon hangs up.
        let flood = thread::spawn(move || writer.write_all(&vec![b'a'; 16 << 20]));
        assert_eq!(answer(&operator), error("a request has at most 1024 bytes"));
        assert_hung_up(&operator);
        assert!(flood.join().unwrap().is_err(), "the daemon read all of it");
    }

    #[test]
    fn what_stands_before_the_end_is_a_line() {
        let daemon = daemon("half", TIMELY);
        for (half, said) in [
            (&b"statu"[..], "there is no command `statu`; did you mean `status`?"),
            (b"status", "mainstay is exiting"),
        ] {
            let operator = daemon.connect();
            (&operator).write_all(half).unwrap();
            operator.shutdown(Shutdown::Write).unwrap();
            assert_eq!(answer(&operator), error(said));
            assert_hung_up(&operator);
        }
    }

    #[test]
    fn patience_with_half_a_line_ends() {
        let daemon = daemon("silent", SHORT);
        let operator = daemon.connect();
        (&operator).write_all(b"stat").unwrap();
        assert_hung_up(&operator);
    }

    #[test]
    fn patience_with_answers_that_nobody_reads_ends() {
        let daemon = daemon("unread", SHORT);
        let operator = daemon.connect();
        let error = loop {
            if let Err(error) = (&operator).write_all(b"help\n") {
                break error;
            }
        };
        let hung_up = [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset].contains(&error.kind());
        assert!(hung_up, "the daemon neither reads nor hangs up: {error}");
    }

    #[test]
    fn one_operator_too_many_is_told_so_and_places_come_back() {
        let daemon = daemon("many", TIMELY);
        let mut operators: Vec<_> = (0..CONNECTIONS).map(|_| daemon.connect()).collect();
        for operator in &operators {
            assert_eq!(ask(operator, b"help\n").0, "commands");
        }
        for _ in 0..CONNECTIONS {
            let refused = daemon.connect();
            assert_eq!(answer(&refused), error("32 operators are connected already"));
            assert_hung_up(&refused);
        }
        assert_eq!(ask(&operators[0], b"help\n").0, "commands", "who has a place keeps it");
        operators.pop();
        let started = Instant::now();
        // A refused one is not read, so the request may fail; its answer says which it was.
        let welcome = |mut operator: Operator| {
            let _ = operator.write_all(b"help\n");
            answer(&operator).0 == "commands"
        };
        while !welcome(daemon.connect()) {
            assert!(started.elapsed() < TIMELY, "no place came back");
        }
    }
}
