//! Any line on the admin socket is a request or a sentence that helps.

use mainstay::admin::protocol::{REQUEST_BYTES, error, parse};

/// Understands `line` as a request.
///
/// # Panics
/// If the line is longer than a request may be and not refused, if spaces change what it means, or if the answer is not
/// one line that is safe to print.
pub fn admin_request(line: &[u8]) {
    match parse(line) {
        Ok(request) => {
            assert!(line.len() <= REQUEST_BYTES, "a request of {} bytes was taken", line.len());
            assert_eq!(parse(line.trim_ascii()), Ok(request), "spaces change nothing");
        }
        Err(sentence) => {
            assert!(!sentence.is_empty(), "a refusal has a reason");
            assert!(!sentence.chars().any(char::is_control), "the operator's terminal obeys {sentence:?}");
            assert!(!error(&sentence).contains('\n'), "an answer is one line: {sentence:?}");
        }
    }
}
