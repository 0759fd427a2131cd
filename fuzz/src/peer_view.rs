//! What a peer tells is within its bounds and safe to print, or it is refused.

use mainstay::peer_link::message::{decode, encode};

/// Reads `message` as a view.
///
/// # Panics
/// If a view that is taken is not within its bounds or reads differently the second time, or if a refusal is not safe to print.
pub fn peer_view(message: &[u8]) {
    match decode(message) {
        Ok(view) => {
            assert_eq!(view.check(), Ok(()));
            // With its defaults written out, the longest may not fit any more.
            if let Ok(again) = encode(&view, &view.host, view.clock_ms) {
                assert_eq!(decode(&again), Ok(view), "what was understood is understood again");
            }
        }
        Err(sentence) => {
            assert!(!sentence.is_empty() && !sentence.chars().any(char::is_control), "{sentence:?}");
        }
    }
}
