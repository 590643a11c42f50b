//! What the command line says. CONTROL.md lists the flags, which all peers share.

use std::{collections::HashMap, num::NonZeroUsize, str::FromStr};

use libp2p::{Multiaddr, PeerId, StreamProtocol, identity::Keypair, kad::Mode, multiaddr::Protocol};
use sha2::{Digest, Sha256};

pub struct Config {
    pub listen: Vec<Multiaddr>,
    pub protocol: StreamProtocol,
    pub mode: Mode,
    pub bootstrap: Vec<(PeerId, Multiaddr)>,
    pub choices: HashMap<String, Choice>,
    pub bucket_size: NonZeroUsize,
    pub alpha: Option<NonZeroUsize>,
    pub key: Keypair,
    /// Requests leave in one packet with the negotiation of their stream.
    pub lazy: bool,
    /// Flags that were given and for which libp2p-kad has no setting.
    pub ignored: Vec<&'static str>,
}

/// How `get` chooses among several values of a namespace: libp2p-kad hands all
/// of them to the application.
#[derive(Clone, Copy, PartialEq)]
pub enum Choice {
    First,
    Largest,
}

impl Config {
    /// The error is a sentence for whoever typed the command.
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut config = Self {
            listen: Vec::new(),
            protocol: StreamProtocol::new("/violence/kad/1.0.0"),
            mode: Mode::Server,
            bootstrap: Vec::new(),
            choices: HashMap::new(),
            bucket_size: libp2p::kad::K_VALUE,
            alpha: None,
            key: Keypair::generate_ed25519(),
            lazy: false,
            ignored: Vec::new(),
        };
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let (name, value) = match argument.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (argument, arguments.next()),
            };
            let value = value.ok_or_else(|| format!("{name} needs a value"))?;
            config.set(&name, value)?;
        }
        if config.listen.is_empty() {
            config.listen.push(read("--listen", "/ip4/127.0.0.1/tcp/0")?);
        }
        Ok(config)
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), String> {
        match name {
            "--listen" => self.listen.push(read(name, &value)?),
            "--protocol" => {
                self.protocol = StreamProtocol::try_from_owned(value).map_err(|e| format!("{name}: {e}"))?;
            }
            "--mode" => self.mode = mode(&value)?,
            "--bootstrap" => {
                let address = read(name, &value)?;
                self.bootstrap.push((peer_of(&address)?, address));
            }
            "--validator" => {
                let (namespace, kind) = value.split_once('=').unwrap_or((&value, ""));
                self.choices.insert(namespace.to_owned(), choice(kind)?);
            }
            "--bucket-size" => self.bucket_size = read(name, &value)?,
            "--alpha" => self.alpha = Some(read(name, &value)?),
            "--beta" => {
                read::<NonZeroUsize>(name, &value)?;
                self.ignored.push("beta");
            }
            "--lazy" => self.lazy = read(name, &value)?,
            "--seed" => self.key = seeded(&value),
            _ => return Err(format!("there is no flag {name}")),
        }
        Ok(())
    }
}

pub fn mode(text: &str) -> Result<Mode, String> {
    match text {
        "server" => Ok(Mode::Server),
        "client" => Ok(Mode::Client),
        _ => Err(format!("mode {text:?}: server or client")),
    }
}

/// The peer id at the end of an address.
pub fn peer_of(address: &Multiaddr) -> Result<PeerId, String> {
    match address.iter().last() {
        Some(Protocol::P2p(id)) => Ok(id),
        _ => Err(format!("{address} does not end in /p2p/<id>")),
    }
}

fn choice(kind: &str) -> Result<Choice, String> {
    match kind {
        "opaque" => Ok(Choice::Largest),
        "pk" => Ok(Choice::First),
        _ => Err(format!("validator kind {kind:?}: NAMESPACE=pk or NAMESPACE=opaque")),
    }
}

fn seeded(text: &str) -> Keypair {
    let digest: [u8; 32] = Sha256::digest(text).into();
    Keypair::ed25519_from_bytes(digest).expect("any 32 bytes are an Ed25519 secret key")
}

fn read<T: FromStr<Err: std::fmt::Display>>(name: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("{name} {text:?}: {error}"))
}
