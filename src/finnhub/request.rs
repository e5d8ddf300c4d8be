//! What a client says to Finnhub's websocket: which symbols it wants.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// One request of a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Request<'a> {
    /// Send this symbol's trades from now on.
    Subscribe {
        /// As Finnhub spells it; colons and spaces are part of it.
        symbol: Cow<'a, str>,
    },
    /// Send no more of them.
    Unsubscribe {
        /// As Finnhub spells it.
        symbol: Cow<'a, str>,
    },
}

impl<'a> Request<'a> {
    /// Asks for `symbol`.
    pub fn subscribe(symbol: &'a str) -> Self {
        Self::Subscribe { symbol: Cow::Borrowed(symbol) }
    }

    /// The request as it travels.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("two strings are always JSON")
    }

    /// Reads a request; `None` when it is none.
    pub fn read(text: &str) -> Option<Request<'static>> {
        serde_json::from_str(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn travels_as_finnhub_documents() {
        let request = Request::subscribe("IC MARKETS:1");
        assert_eq!(request.to_json(), r#"{"type":"subscribe","symbol":"IC MARKETS:1"}"#);
        assert_eq!(
            Request::read(r#"{"symbol":"AAPL","type":"unsubscribe"}"#),
            Some(Request::Unsubscribe { symbol: "AAPL".into() })
        );
        assert_eq!(Request::read(r#"{"type":"subscribe"}"#), None);
        assert_eq!(Request::read(r#"{"type":"buy","symbol":"AAPL"}"#), None);
    }

    proptest! {
        #[test]
        fn round_trips(symbol in ".{0,20}") {
            let request = Request::subscribe(&symbol);
            prop_assert_eq!(Request::read(&request.to_json()), Some(request.clone()));
        }

        #[test]
        fn any_text_is_read(text in ".{0,60}") {
            let _ = Request::read(&text);
        }
    }
}
