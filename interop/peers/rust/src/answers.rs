//! What a verb gives back: fields of the answer, or a failure in the words that
//! all peers share (CONTROL.md, "Errors").

use std::fmt::Display;

use base64::{Engine, prelude::BASE64_STANDARD};
use libp2p::{Multiaddr, PeerId};
use serde_json::{Map, Value, json};

/// The fields of an answer, beside id, ok and seconds.
pub type Fields = Map<String, Value>;

pub type Answer = Result<Fields, Failure>;

#[derive(Debug)]
pub struct Failure {
    pub kind: &'static str,
    pub text: String,
}

impl Failure {
    pub fn new(kind: &'static str, text: impl Display) -> Self {
        Self { kind, text: text.to_string() }
    }

    pub fn usage(text: impl Display) -> Self {
        Self::new("usage", text)
    }

    pub fn no_peers() -> Self {
        Self::new("no_peers", "the routing table is empty")
    }
}

/// A peer with its addresses.
pub struct Info {
    pub id: PeerId,
    pub addresses: Vec<Multiaddr>,
}

impl Info {
    pub fn json(&self) -> Value {
        json!({"id": self.id.to_string(), "addresses": self.addresses.iter().map(ToString::to_string).collect::<Vec<_>>()})
    }
}

/// The fields of a JSON object.
pub fn fields(object: Value) -> Fields {
    match object {
        Value::Object(fields) => fields,
        _ => unreachable!("an answer is made of an object"),
    }
}

pub fn infos(peers: &[Info]) -> Value {
    peers.iter().map(Info::json).collect()
}

pub fn ids<'a>(peers: impl IntoIterator<Item = &'a PeerId>) -> Value {
    peers.into_iter().map(|id| Value::from(id.to_string())).collect()
}

pub fn text_of(data: &[u8]) -> String {
    BASE64_STANDARD.encode(data)
}

pub fn bytes_of(text: &str) -> Result<Vec<u8>, String> {
    BASE64_STANDARD.decode(text).map_err(|error| error.to_string())
}
