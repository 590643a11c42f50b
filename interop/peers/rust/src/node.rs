//! The node: a swarm that one task runs, and a handle by which verbs reach it.
//!
//! libp2p leaves to the application what the other implementations do
//! themselves. Here that is: whoever speaks our protocol enters the routing
//! table with the addresses of its identify message, whoever stops leaves it,
//! and the addresses that we listen on count as external ones.

use std::{
    collections::{HashMap, HashSet},
    error::Error,
    num::NonZeroUsize,
    time::Duration,
};

use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, Swarm, SwarmBuilder,
    core::{ConnectedPoint, Endpoint, upgrade::Version},
    identify,
    identity::PublicKey,
    kad::{self, GetProvidersOk, QueryId, QueryResult, store::MemoryStore},
    noise, ping,
    swarm::{
        ConnectionId, NetworkBehaviour, SwarmEvent,
        dial_opts::{DialOpts, PeerCondition},
    },
    tcp, yamux,
};
use tokio::{
    select,
    sync::{mpsc, oneshot},
};

use crate::{
    answers::{Failure, Info},
    config::{Choice, Config},
    query::Progress,
};

/// How long a connection without streams stays. The other implementations keep
/// theirs as long as there is room.
const IDLE: Duration = Duration::from_secs(24 * 60 * 60);

pub type Kad = kad::Behaviour<MemoryStore>;

#[derive(NetworkBehaviour)]
pub struct Behaviour {
    pub kad: Kad,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    streams: libp2p_stream::Behaviour,
}

/// Done by the node's task, between two events.
type Command = Box<dyn FnOnce(&mut Node) + Send>;

pub struct Node {
    pub swarm: Swarm<Behaviour>,
    pub key: PublicKey,
    pub connections: HashMap<ConnectionId, (PeerId, ConnectedPoint)>,
    pub choices: HashMap<String, Choice>,
    pub ignored: Vec<&'static str>,
    pub bucket_size: NonZeroUsize,
    /// Where connected peers listen, as they said.
    pub identified: HashMap<PeerId, Vec<Multiaddr>>,
    /// Who waits for the progress of a query.
    pub queries: HashMap<QueryId, mpsc::UnboundedSender<Progress>>,
    dials: HashMap<ConnectionId, oneshot::Sender<Result<(), String>>>,
    commands: mpsc::UnboundedReceiver<Command>,
}

/// What verbs have of the node.
#[derive(Clone)]
pub struct Handle {
    commands: mpsc::UnboundedSender<Command>,
    pub streams: libp2p_stream::Control,
}

impl Node {
    /// A node that listens on all the addresses that it should.
    pub async fn listen(config: Config) -> Result<(Self, Handle), Box<dyn Error>> {
        let mut swarm = swarm_of(&config)?;
        for address in &config.listen {
            swarm.listen_on(address.clone())?;
        }
        let (sender, commands) = mpsc::unbounded_channel();
        let streams = swarm.behaviour().streams.new_control();
        let mut node = Self {
            swarm,
            key: config.key.public(),
            connections: HashMap::new(),
            choices: config.choices,
            ignored: config.ignored,
            bucket_size: config.bucket_size,
            identified: HashMap::new(),
            queries: HashMap::new(),
            dials: HashMap::new(),
            commands,
        };
        while node.swarm.listeners().count() < config.listen.len() {
            let event = node.swarm.select_next_some().await;
            node.on_event(event);
        }
        for (id, address) in config.bootstrap {
            let _ = node.dial(id, address);
        }
        Ok((node, Handle { commands: sender, streams }))
    }

    /// Runs the swarm until nobody has a handle any more.
    pub async fn run(mut self) {
        loop {
            select! {
                command = self.commands.recv() => match command {
                    Some(command) => command(&mut self),
                    None => return,
                },
                event = self.swarm.select_next_some() => self.on_event(event),
            }
        }
    }

    pub fn kad(&mut self) -> &mut Kad {
        &mut self.swarm.behaviour_mut().kad
    }

    pub fn own(&self) -> Info {
        let id = *self.swarm.local_peer_id();
        let addresses = self.swarm.listeners().map(|address| address.clone().with_p2p(id));
        Info { id, addresses: addresses.filter_map(Result::ok).collect() }
    }

    pub fn table(&mut self) -> Vec<Info> {
        let entries = |bucket: kad::KBucketRef<'_, kad::KBucketKey<PeerId>, kad::Addresses>| {
            let infos = bucket.iter().map(|entry| Info {
                id: *entry.node.key.preimage(),
                addresses: entry.node.value.iter().cloned().collect(),
            });
            infos.collect::<Vec<_>>()
        };
        self.kad().kbuckets().flat_map(entries).collect()
    }

    /// What would be dialled now: addresses of the routing table and of running
    /// queries, and what the peer itself said when it is connected.
    pub fn addresses_of(&mut self, peer: &PeerId) -> Vec<Multiaddr> {
        if peer == self.swarm.local_peer_id() {
            return self.own().addresses;
        }
        let unused = ConnectionId::new_unchecked(usize::MAX);
        let known = self.kad().handle_pending_outbound_connection(unused, Some(*peer), &[], Endpoint::Dialer);
        let mut addresses = known.unwrap_or_default();
        addresses.extend(self.identified.get(peer).into_iter().flatten().cloned());
        without_repeats(addresses, *peer)
    }

    /// Dials unless there is a connection. The receiver hears how it ended.
    pub fn dial(&mut self, peer: PeerId, address: Multiaddr) -> Result<oneshot::Receiver<Result<(), String>>, Failure> {
        let (sender, receiver) = oneshot::channel();
        if self.swarm.is_connected(&peer) {
            let _ = sender.send(Ok(()));
            return Ok(receiver);
        }
        let options = DialOpts::peer_id(peer).condition(PeerCondition::Disconnected).addresses(vec![address]).build();
        self.dials.insert(options.connection_id(), sender);
        self.swarm.dial(options).map_err(|error| Failure::new("unreachable", error))?;
        Ok(receiver)
    }

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            // Without this it would announce itself as a provider without addresses.
            SwarmEvent::NewListenAddr { address, .. } => self.swarm.add_external_address(address),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.connections.insert(connection_id, (peer_id, endpoint));
                self.dialled(connection_id, Ok(()));
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                self.dialled(connection_id, Err(error.to_string()));
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, num_established, .. } => {
                self.connections.remove(&connection_id);
                if num_established == 0 {
                    self.identified.remove(&peer_id);
                }
            }
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. })) => {
                self.on_identified(peer_id, info);
            }
            SwarmEvent::Behaviour(BehaviourEvent::Kad(kad::Event::OutboundQueryProgressed {
                id,
                result,
                stats,
                step,
            })) => {
                self.on_progress(id, Progress { result, stats, last: step.last, addresses: HashMap::new() });
            }
            _ => {}
        }
    }

    fn dialled(&mut self, connection: ConnectionId, outcome: Result<(), String>) {
        if let Some(waiting) = self.dials.remove(&connection) {
            let _ = waiting.send(outcome);
        }
    }

    /// The documentation of libp2p-kad asks applications for this.
    fn on_identified(&mut self, peer: PeerId, info: identify::Info) {
        let speaks = self.kad().protocol_names().iter().any(|name| info.protocols.contains(name));
        if !speaks {
            self.kad().remove_peer(&peer);
        }
        for address in info.listen_addrs.iter().filter(|_| speaks) {
            self.kad().add_address(&peer, address.clone());
        }
        self.identified.insert(peer, info.listen_addrs);
    }

    fn on_progress(&mut self, id: QueryId, mut progress: Progress) {
        // The event has ids only, and the addresses go with the query.
        if let QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })) = &progress.result {
            progress.addresses = providers.iter().map(|peer| (*peer, self.addresses_of(peer))).collect();
        }
        let last = progress.last;
        if let Some(waiting) = self.queries.get(&id) {
            let _ = waiting.send(progress);
        }
        if last {
            self.queries.remove(&id);
        }
    }
}

impl Handle {
    /// Has something done between two events, and returns what came of it.
    pub async fn with<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Node) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let (sender, receiver) = oneshot::channel();
        self.later(move |node| {
            let _ = sender.send(act(node));
        });
        receiver.await.map_err(|_| Failure::new("defect", "the node's task is gone"))
    }

    /// The same, for what has no result that anybody waits for.
    pub fn later(&self, act: impl FnOnce(&mut Node) + Send + 'static) {
        let _ = self.commands.send(Box::new(act));
    }
}

/// The addresses in their order, each once and with the peer's id at its end.
pub fn without_repeats(addresses: Vec<Multiaddr>, peer: PeerId) -> Vec<Multiaddr> {
    let mut seen = HashSet::new();
    let whole = addresses.into_iter().filter_map(|address| address.with_p2p(peer).ok());
    whole.filter(|address| seen.insert(address.clone())).collect()
}

fn swarm_of(config: &Config) -> Result<Swarm<Behaviour>, Box<dyn Error>> {
    let swarm = SwarmBuilder::with_existing_identity(config.key.clone())
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)?
        .with_behaviour(|key| Behaviour {
            kad: kad_of(config, key.public().to_peer_id()),
            identify: identify::Behaviour::new(identify::Config::new("p2pkad-interop/1.0.0".into(), key.public())),
            ping: ping::Behaviour::default(),
            streams: libp2p_stream::Behaviour::new(),
        })?
        .with_swarm_config(|swarm| {
            let swarm = swarm.with_idle_connection_timeout(IDLE);
            if config.lazy { swarm.with_substream_upgrade_protocol_override(Version::V1Lazy) } else { swarm }
        })
        .build();
    Ok(swarm)
}

fn kad_of(config: &Config, id: PeerId) -> Kad {
    let mut settings = kad::Config::new(config.protocol.clone());
    settings.set_replication_factor(config.bucket_size);
    settings.set_kbucket_size(config.bucket_size);
    // New peers start a bootstrap, as they do by default; nothing does so by the clock.
    settings.set_periodic_bootstrap_interval(None);
    if let Some(alpha) = config.alpha {
        settings.set_parallelism(alpha);
    }
    let mut kad = kad::Behaviour::with_config(id, MemoryStore::new(id), settings);
    kad.set_mode(Some(config.mode));
    kad
}
