//! What is said on a peer link: views, as JSON.
//!
//! Unknown fields are ignored and missing ones are empty, so that balancers of different versions understand each other.

use mainstay_engine::peers::view::View;

/// Bytes of one message: what fits one frame.
pub const MESSAGE_BYTES: usize = super::channel::FRAME_BYTES - super::channel::TAG_BYTES;

/// A view as it goes out, with what the engine cannot know: the host's name and its wall clock.
///
/// # Errors
/// A phrase: it does not fit.
pub fn encode(view: &View, host: &str, clock_ms: u64) -> Result<Vec<u8>, String> {
    let view = View { host: host.to_owned(), clock_ms, ..view.clone() };
    let message = serde_json::to_vec(&view).map_err(|error| error.to_string())?;
    if message.len() > MESSAGE_BYTES {
        return Err(format!("a view of {} bytes does not fit {MESSAGE_BYTES}", message.len()));
    }
    Ok(message)
}

/// A view as it came in: whole, within its bounds and safe to print.
///
/// # Errors
/// A phrase that says what is wrong with it.
pub fn decode(message: &[u8]) -> Result<View, String> {
    if message.len() > MESSAGE_BYTES {
        return Err("its view is too long".to_owned());
    }
    // The words of the parser could quote what is not safe to print.
    let view: View = serde_json::from_slice(message).map_err(|_| "its view cannot be read".to_owned())?;
    view.check()?;
    Ok(view)
}
