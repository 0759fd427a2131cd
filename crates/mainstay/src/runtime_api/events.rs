//! `show events`: what the daemon has said, and goes on to say.
//!
//! HAProxy's sinks are rings of its own making; the one here is the log.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::log::{self, Recent};

/// The name of the one sink.
const SINK: &str = "log";

/// How long whoever listens may take for a few lines.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who asks wants to hear what is said after the first so many lines.
pub(super) struct Follow {
    pub(super) recent: Arc<Recent>,
    pub(super) seen: u64,
}

/// `show events [<sink>] [-w] [-n]`.
pub(super) fn show(arguments: &[&str]) -> (String, Option<Follow>) {
    let Some((sink, options)) = arguments.split_first() else {
        let sinks = format!(
            "Supported events sinks are listed below. Add -w(wait), -n(new). Any key to stop\n    \
             {SINK:<10} : type=buffer, 0 dropped, the last lines of the log\n"
        );
        return (sinks, None);
    };
    let Some(recent) = log::recent().filter(|_| *sink == SINK) else {
        return ("No such event sink\n".to_owned(), None);
    };
    let letters = options.iter().map(|option| option.strip_prefix('-'));
    if letters.clone().any(|letters| letters.is_none_or(|letters| letters.contains(|c| c != 'w' && c != 'n')))
    {
        return ("unknown option\n".to_owned(), None);
    }
    let asks = |letter| letters.clone().flatten().any(|letters| letters.contains(letter));
    let (waits, only_new) = (asks('w'), asks('n'));
    let from = if only_new { recent.count() } else { 0 };
    let (text, seen) = recent.after(from);
    (text, waits.then_some(Follow { recent, seen }))
}

/// Writes line after line, until the other end says anything or is gone.
pub(super) async fn follow<S>(stream: &mut S, recent: &Recent, mut seen: u64) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        tokio::select! {
            _ = stream.read_u8() => return Ok(()),
            () = recent.wait(seen) => {}
        }
        let (text, all) = recent.after(seen);
        seen = all;
        timeout(PATIENCE, stream.write_all(text.as_bytes())).await??;
        stream.flush().await?;
    }
}
