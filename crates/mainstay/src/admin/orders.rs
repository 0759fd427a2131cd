//! What an operator can have done to a server with `mainstay server`, in the words of a request.

use mainstay_engine::health::order::{AdminState, Order, ServerOrder, Weight};

/// The heaviest a server can be.
const HEAVIEST: u16 = 256;

/// Understands what follows `server`.
///
/// # Errors
/// A sentence for the operator.
pub(super) fn server<'a>(mut words: impl Iterator<Item = &'a str>) -> Result<Order, String> {
    const USAGE: &str = "`server` takes POOL/SERVER and one of ready, drain, maint and `weight N`";
    let (Some(name), Some(action)) = (words.next(), words.next()) else { return Err(USAGE.to_owned()) };
    let Some((pool, server)) = name.split_once('/') else {
        return Err(format!("a server is named POOL/SERVER, not `{}`", name.escape_debug()));
    };
    let change = match (action, words.next()) {
        ("ready", None) => ServerOrder::State(AdminState::Ready),
        ("drain", None) => ServerOrder::State(AdminState::Drain),
        ("maint", None) => ServerOrder::State(AdminState::Maintenance),
        ("weight", Some(value)) => ServerOrder::Weight(weight(value)?),
        _ => return Err(USAGE.to_owned()),
    };
    if words.next().is_some() {
        return Err(USAGE.to_owned());
    }
    Ok(Order::Server { pool: pool.to_owned(), server: server.to_owned(), change })
}

/// A weight: a number, or a percentage of the configured one.
fn weight(text: &str) -> Result<Weight, String> {
    let percent = text.strip_suffix('%').and_then(|number| number.parse().ok()).map(Weight::Percent);
    let absolute = text.parse().ok().filter(|weight| *weight <= HEAVIEST).map(Weight::Absolute);
    percent.or(absolute).ok_or_else(|| {
        let text = text.escape_debug();
        format!(
            "a weight is a number from 0 to {HEAVIEST}, or a percentage of the configured one, not `{text}`"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ServerOrder, String> {
        match server(text.split(' '))? {
            Order::Server { pool, server, change } => {
                assert_eq!((pool.as_str(), server.as_str()), ("k8s", "cp1"));
                Ok(change)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn orders_are_words() {
        assert_eq!(parse("k8s/cp1 ready"), Ok(ServerOrder::State(AdminState::Ready)));
        assert_eq!(parse("k8s/cp1 drain"), Ok(ServerOrder::State(AdminState::Drain)));
        assert_eq!(parse("k8s/cp1 maint"), Ok(ServerOrder::State(AdminState::Maintenance)));
        assert_eq!(parse("k8s/cp1 weight 256"), Ok(ServerOrder::Weight(Weight::Absolute(256))));
        assert_eq!(parse("k8s/cp1 weight 50%"), Ok(ServerOrder::Weight(Weight::Percent(50))));
    }

    #[test]
    fn other_words_are_refused_with_a_sentence() {
        for text in ["", "k8s/cp1", "cp1 drain", "k8s/cp1 stop", "k8s/cp1 drain now", "k8s/cp1 weight"] {
            assert!(parse(text).is_err(), "{text}");
        }
        for weight in ["257", "-1", "x", "%", "1 2", "-1%"] {
            assert!(parse(&format!("k8s/cp1 weight {weight}")).is_err(), "{weight}");
        }
    }
}
