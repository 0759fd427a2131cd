//! What a peer tells of its connections is read or refused, and means the same when it is told again.

use mainstay_engine::flows::wire::Message;
use mainstay_engine::limits::FLOWS_PER_MESSAGE;

/// Reads `bytes` as a message about flows.
///
/// # Panics
/// If a message that is taken is out of its bounds or reads differently the second time, or if a refusal says nothing.
pub fn flow_message(bytes: &[u8]) {
    match Message::decode(bytes) {
        Ok(message) => {
            if let Message::Flows(address, flows) = &message {
                assert!(flows.len() <= FLOWS_PER_MESSAGE);
                assert!(flows.iter().all(|flow| flow.is_forwarded() && flow.endpoint.ip() == *address));
            }
            let again = Message::decode(&message.encode());
            assert_eq!(again.map(sorted), Ok(sorted(message)), "what was understood is understood again");
        }
        Err(phrase) => assert!(!phrase.is_empty()),
    }
}

fn sorted(mut message: Message) -> Message {
    if let Message::Flows(_, flows) = &mut message {
        flows.sort();
    }
    message
}
