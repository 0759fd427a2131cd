//! The first bytes of a connection are a client hello, something else, or not enough.

use mainstay_engine::rules::{Partial, client_hello, hello_type};

/// Reads bytes as the first ones of a connection.
///
/// # Panics
/// If an answer is not the one for every longer beginning of the same bytes, or if the two readers disagree.
pub fn client_hello_bytes(bytes: &[u8]) {
    let whole = client_hello(bytes);
    let kind = hello_type(bytes);
    if whole.is_ok() {
        assert_eq!(kind, Ok(1), "a client hello is a handshake message of type 1");
    }
    for end in 0..bytes.len() {
        let beginning = bytes.get(..end).unwrap_or_default();
        let early = client_hello(beginning);
        assert!(early == Err(Partial::NeedMore) || early == whole, "{early:?}, and with more {whole:?}");
        let early = hello_type(beginning);
        assert!(early == Err(Partial::NeedMore) || early == kind, "{early:?}, and with more {kind:?}");
    }
}
