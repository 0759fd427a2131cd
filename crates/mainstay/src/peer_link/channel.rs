//! An encrypted connection of two balancers that have the same secret.
//!
//! Noise `NNpsk0`: both sides prove that they have the key, and no recording can be read with a key that leaks later. A
//! frame is its length in two bytes and so many bytes of Noise. The one who dials says something last, so that a recorded
//! first message opens nothing. An accepter without the key says so with an empty frame, which proves nothing and is
//! only told to people.

use std::fmt;
use std::io;

use mainstay_engine::plan::{LinkSecret, RouterId};
use sha2::{Digest, Sha256};
use snow::{Builder, HandshakeState, TransportState};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_SHA256";

/// Both sides have to mean the same protocol.
const PROLOGUE: &[u8] = b"mainstay peer link 1";

/// Before the secret, so that what keys the link keys nothing else.
const KEY_LABEL: &[u8] = b"mainstay peer link key 1\0";

/// Bytes of one frame: as many as a Noise message has, and its length can say.
pub(super) const FRAME_BYTES: usize = 65_535;

/// Bytes of one frame before the keys are proved: an ephemeral key and an authentication tag, with room to spare.
const HANDSHAKE_BYTES: usize = 96;

/// Bytes that encryption adds to a frame.
pub(super) const TAG_BYTES: usize = 16;

/// What keys a link.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key([u8; 32]);

impl Key {
    pub(super) fn of(secret: &LinkSecret) -> Self {
        let digest = Sha256::new().chain_update(KEY_LABEL).chain_update(secret.reveal()).finalize();
        Self(digest.into())
    }

    fn builder(&self) -> Result<Builder<'_>, snow::Error> {
        let params = PATTERN.parse()?;
        Builder::new(params).prologue(PROLOGUE)?.psk(0, &self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// Why there is no channel, or no more of it.
#[derive(Debug)]
pub(super) enum Failure {
    /// The other side's kernel closed or reset the connection.
    Closed,
    /// The other side has another key.
    Key,
    /// Anything else; a phrase.
    Other(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                Self::Closed
            }
            _ => Self::Other(error.to_string()),
        }
    }
}

impl From<snow::Error> for Failure {
    fn from(error: snow::Error) -> Self {
        Self::Other(format!("encryption failed: {error}"))
    }
}

/// One side of an encrypted connection.
pub(super) struct Channel<S> {
    stream: S,
    noise: TransportState,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Channel<S> {
    /// The side that dialled, and what it wants. The other side may be too old to care.
    pub(super) async fn initiate(mut stream: S, key: &Key, wish: &[u8]) -> Result<Self, Failure> {
        let mut handshake = key.builder()?.build_initiator()?;
        let hello = say(&mut handshake)?;
        write_frame(&mut stream, &hello).await?;
        let answer = read_frame(&mut stream, HANDSHAKE_BYTES).await?;
        if answer.is_empty() || !hear(&mut handshake, &answer) {
            return Err(Failure::Key);
        }
        let mut channel = Self { stream, noise: handshake.into_transport_mode()? };
        channel.send(wish).await?;
        Ok(channel)
    }

    /// The side that was dialled, with the name of the first of `keys` that fits, and what the other side wants.
    pub(super) async fn respond(
        mut stream: S,
        keys: &[(RouterId, Key)],
    ) -> Result<(Self, RouterId, Vec<u8>), Failure> {
        let hello = read_frame(&mut stream, HANDSHAKE_BYTES).await?;
        let mut fitting = None;
        for (name, key) in keys {
            let mut handshake = key.builder()?.build_responder()?;
            if hear(&mut handshake, &hello) {
                fitting = Some((*name, handshake));
                break;
            }
        }
        let Some((name, mut handshake)) = fitting else {
            write_frame(&mut stream, &[]).await?;
            return Err(Failure::Key);
        };
        let answer = say(&mut handshake)?;
        write_frame(&mut stream, &answer).await?;
        let mut channel = Self { stream, noise: handshake.into_transport_mode()? };
        let wish = channel.receive().await?;
        Ok((channel, name, wish))
    }

    /// Sends one message.
    pub(super) async fn send(&mut self, message: &[u8]) -> Result<(), Failure> {
        let mut frame = vec![0; message.len() + TAG_BYTES];
        let length = self.noise.write_message(message, &mut frame)?;
        frame.truncate(length);
        Ok(write_frame(&mut self.stream, &frame).await?)
    }

    /// The next message. Not to be given up half-way.
    pub(super) async fn receive(&mut self) -> Result<Vec<u8>, Failure> {
        let frame = read_frame(&mut self.stream, FRAME_BYTES).await?;
        let mut message = vec![0; frame.len()];
        let length = self.noise.read_message(&frame, &mut message)?;
        message.truncate(length);
        Ok(message)
    }

    /// Waits for the end of a side that has nothing more to say.
    pub(super) async fn ended(&mut self) {
        let mut byte = [0];
        // Whatever comes is the end of it: nothing is expected.
        let _ = self.stream.read(&mut byte).await;
    }
}

/// Our next message of a handshake.
fn say(handshake: &mut HandshakeState) -> Result<Vec<u8>, snow::Error> {
    let mut message = vec![0; HANDSHAKE_BYTES];
    let length = handshake.write_message(&[], &mut message)?;
    message.truncate(length);
    Ok(message)
}

/// Takes the other side's message in. Whether it was made with our key.
fn hear(handshake: &mut HandshakeState, message: &[u8]) -> bool {
    handshake.read_message(message, &mut [0; HANDSHAKE_BYTES]).is_ok()
}

async fn write_frame(stream: &mut (impl AsyncWrite + Unpin), frame: &[u8]) -> io::Result<()> {
    let length = u16::try_from(frame.len()).map_err(|_| io::Error::other("a message is too long"))?;
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend_from_slice(frame);
    stream.write_all(&bytes).await
}

/// The next frame. One that is longer than `most` is refused before it is read.
async fn read_frame(stream: &mut (impl AsyncRead + Unpin), most: usize) -> io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).await?;
    let length = usize::from(u16::from_be_bytes(length));
    if length > most {
        return Err(io::Error::other(format!("a frame of {length} bytes, where the most is {most}")));
    }
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame).await?;
    Ok(frame)
}
