//! All that can be asked, "stop" apart. CONTROL.md describes the verbs in this order.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol,
    kad::{
        GetClosestPeersError, GetClosestPeersOk, GetProvidersOk, GetRecordOk, Mode, PeerInfo, PutRecordError,
        QueryResult, Quorum, Record, RecordKey, store::RecordStore,
    },
};
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::{
    answers::{Answer, Failure, Fields, Info, bytes_of, fields, ids, infos, text_of},
    config::{self, Choice},
    control::Request,
    node::{Handle, Kad, Node, without_repeats},
    query::Query,
    stream::raw_stream,
};

/// How often something is looked at that has no event.
const POLL: Duration = Duration::from_millis(10);

/// How long the other end of a stream may take to close it behind this one.
const FAREWELL: Duration = Duration::from_secs(1);

const PING: StreamProtocol = StreamProtocol::new("/ipfs/ping/1.0.0");

pub async fn run(verb: &str, handle: &Handle, request: &Request) -> Answer {
    match verb {
        "identity" => identity(handle).await,
        "connect" => connect(handle, request).await,
        "bootstrap" => bootstrap(handle, request).await,
        "put" => put(handle, request).await,
        "get" => get(handle, request).await,
        "holds" => holds(handle, request).await,
        "provide" => provide(handle, request).await,
        "find_providers" => find_providers(handle, request).await,
        "find_peer" => find_peer(handle, request).await,
        "closest_peers" => closest_peers(handle, request).await,
        "ping" => ping(handle, request).await,
        "routing_table" => routing_table(handle).await,
        "connections" => connections(handle).await,
        "set_mode" => set_mode(handle, request).await,
        "request" => raw_request(handle, request).await,
        "stream" => raw_stream(handle, request).await,
        "public_key" => public_key(handle).await,
        _ => Err(Failure::new("unsupported", format!("verb {verb:?}"))),
    }
}

pub async fn identity(handle: &Handle) -> Answer {
    let look = |node: &mut Node| {
        let (mode, protocol) = (node.kad().mode().to_string(), node.kad().protocol_names()[0].to_string());
        fields(json!({"peer": node.own().json(), "mode": mode, "protocol": protocol}))
    };
    handle.with(look).await
}

async fn connect(handle: &Handle, request: &Request) -> Answer {
    reach(handle, &request.peer).await?;
    Ok(Fields::new())
}

/// Connects to the given peers, waits until one of them is in the routing table, and refreshes it.
async fn bootstrap(handle: &Handle, request: &Request) -> Answer {
    for peer in &request.peers {
        reach(handle, peer).await?;
    }
    while handle.with(|node| node.table().is_empty()).await? {
        sleep(POLL).await;
    }
    let begin = Query::start(handle, |kad| kad.bootstrap().map_err(|_| Failure::no_peers()));
    begin.await?.among_peers()?.end().await?;
    let size = handle.with(|node| node.table().len()).await?;
    Ok(fields(json!({"table": size})))
}

/// With less than k peers in the network the query fails, and says who stored
/// the record all the same. When it succeeds it doesn't say who.
async fn put(handle: &Handle, request: &Request) -> Answer {
    let record = Record::new(key_of(request)?, bytes(&request.value, "value")?);
    let begin =
        move |kad: &mut Kad| kad.put_record(record, Quorum::All).map_err(|error| Failure::new("refused", error));
    let end = Query::start(handle, begin).await?.among_peers()?.end().await?;
    match end.result {
        QueryResult::PutRecord(Ok(_)) => Ok(Fields::new()),
        QueryResult::PutRecord(Err(PutRecordError::QuorumFailed { success, .. })) if !success.is_empty() => {
            Ok(fields(json!({"stored": ids(&success)})))
        }
        QueryResult::PutRecord(Err(PutRecordError::Timeout { .. })) => Err(Failure::new("timeout", "libp2p-kad's own")),
        _ => Err(Failure::new("failed", "nobody stored it")),
    }
}

async fn get(handle: &Handle, request: &Request) -> Answer {
    let key = key_of(request)?;
    let largest = choice(handle, key.as_ref()).await? == Choice::Largest;
    let own = handle.with(|node| *node.swarm.local_peer_id()).await?;
    let mut query = Query::start(handle, |kad| Ok(kad.get_record(key))).await?;
    let mut found: Vec<(PeerId, Vec<u8>)> = Vec::new();
    let mut stats = None;
    while let Some(progress) = query.next().await {
        stats = Some(progress.stats);
        if let QueryResult::GetRecord(Ok(GetRecordOk::FoundRecord(record))) = progress.result {
            found.push((record.peer.unwrap_or(own), record.record.value));
        }
        if progress.last || request.quorum > 0 && found.len() >= request.quorum {
            break;
        }
    }
    let best = if largest { found.iter().map(|(_, value)| value).max() } else { found.first().map(|(_, value)| value) };
    let Some(best) = best else {
        return Err(if query.alone {
            Failure::no_peers()
        } else {
            Failure::new("not_found", "nobody who was asked has it")
        });
    };
    let holders = found.iter().filter(|(_, value)| value == best).map(|(peer, _)| peer);
    let mut answer = fields(json!({"value": text_of(best), "holders": ids(holders)}));
    if let Some(stats) = stats {
        answer.insert("asked".into(), stats.num_requests().into());
        answer.insert("answered".into(), stats.num_successes().into());
    }
    Ok(answer)
}

/// What is in the node's own store under a key, without asking anybody.
async fn holds(handle: &Handle, request: &Request) -> Answer {
    let key = key_of(request)?;
    let look = move |node: &mut Node| {
        let now = Instant::now();
        let store = node.kad().store_mut();
        let value = store.get(&key).is_some_and(|record| !record.is_expired(now));
        let live = store.providers(&key).into_iter().filter(|record| !record.is_expired(now));
        let providers: Vec<_> = live.map(|record| Info { id: record.provider, addresses: record.addresses }).collect();
        fields(json!({"value": value, "providers": infos(&providers)}))
    };
    handle.with(look).await
}

async fn provide(handle: &Handle, request: &Request) -> Answer {
    let key = key_of(request)?;
    let begin = |kad: &mut Kad| kad.start_providing(key).map_err(|error| Failure::new("failed", error));
    match Query::start(handle, begin).await?.among_peers()?.end().await?.result {
        QueryResult::StartProviding(Ok(_)) => Ok(Fields::new()),
        _ => Err(Failure::new("timeout", "libp2p-kad's own")),
    }
}

async fn find_providers(handle: &Handle, request: &Request) -> Answer {
    let key = key_of(request)?;
    let mut query = Query::start(handle, |kad| Ok(kad.get_providers(key))).await?.among_peers()?;
    let mut found: Vec<Info> = Vec::new();
    let mut seen = HashSet::new();
    while let Some(mut progress) = query.next().await {
        if let QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })) = progress.result {
            for id in providers.into_iter().filter(|id| seen.insert(*id)) {
                found.push(Info { id, addresses: progress.addresses.remove(&id).unwrap_or_default() });
            }
        }
        if progress.last || request.count > 0 && found.len() >= request.count {
            break;
        }
    }
    if request.count > 0 {
        found.truncate(request.count);
    }
    Ok(fields(json!({"providers": infos(&found)})))
}

/// libp2p-kad has no such query. The one for the closest peers connects to the
/// peer when somebody knows where it is, and then it says itself where it listens.
async fn find_peer(handle: &Handle, request: &Request) -> Answer {
    let id: PeerId =
        request.peer.parse().map_err(|error| Failure::usage(format!("peer {:?}: {error}", request.peer)))?;
    if let Some(info) = connected(handle, id).await? {
        return Ok(fields(json!({"peer": info.json()})));
    }
    let peers = closest(handle, id.to_bytes()).await?;
    if let Some(found) = peers.into_iter().find(|info| info.id == id && !info.addresses.is_empty()) {
        return Ok(fields(json!({"peer": found.json()})));
    }
    while handle.with(move |node| node.swarm.is_connected(&id)).await? {
        if let Some(info) = connected(handle, id).await? {
            return Ok(fields(json!({"peer": info.json()})));
        }
        sleep(POLL).await;
    }
    Err(Failure::new("not_found", "nobody who was asked knows it, or it is gone"))
}

/// A connected peer that has said where it listens.
async fn connected(handle: &Handle, id: PeerId) -> Result<Option<Info>, Failure> {
    handle.with(move |node| node.identified.get(&id).cloned().map(|addresses| Info { id, addresses })).await
}

async fn closest_peers(handle: &Handle, request: &Request) -> Answer {
    let peers = closest(handle, bytes(&request.key, "key")?).await?;
    Ok(fields(json!({"peers": infos(&peers)})))
}

/// The k nearest peers that answered.
async fn closest(handle: &Handle, key: Vec<u8>) -> Result<Vec<Info>, Failure> {
    let size = handle.with(|node| node.bucket_size).await?;
    let query = Query::start(handle, move |kad| Ok(kad.get_n_closest_peers(key, size))).await?;
    let end = query.among_peers()?.end().await?;
    let peers = match end.result {
        QueryResult::GetClosestPeers(Ok(GetClosestPeersOk { peers, .. })) => peers,
        QueryResult::GetClosestPeers(Err(GetClosestPeersError::Timeout { peers, .. })) => peers,
        _ => return Err(Failure::new("defect", "an answer to another question")),
    };
    handle.with(move |node| peers.into_iter().map(|peer| complete(node, peer)).collect()).await
}

/// The query knows addresses that others told it, and not those of the routing table.
fn complete(node: &mut Node, peer: PeerInfo) -> Info {
    let mut addresses = peer.addrs;
    addresses.extend(node.addresses_of(&peer.peer_id));
    Info { id: peer.peer_id, addresses: without_repeats(addresses, peer.peer_id) }
}

/// One round trip on a stream of its own: libp2p-ping pings when it wants to.
async fn ping(handle: &Handle, request: &Request) -> Answer {
    let id: PeerId =
        request.peer.parse().map_err(|error| Failure::usage(format!("peer {:?}: {error}", request.peer)))?;
    let opened = handle.streams.clone().open_stream(id, PING).await;
    let mut stream = opened.map_err(|error| Failure::new("unreachable", error))?;
    let started = Instant::now();
    let (sent, mut received) = ([7; 32], [0; 32]);
    let trip = async {
        stream.write_all(&sent).await?;
        stream.flush().await?;
        stream.read_exact(&mut received).await
    };
    trip.await.map_err(|error| Failure::new("failed", error))?;
    let round_trip = started.elapsed().as_secs_f64();
    let _ = stream.close().await;
    if sent != received {
        return Err(Failure::new("failed", "something else came back"));
    }
    // Until it is over at the other end, too: with the stream that libp2p-ping keeps, the next one
    // would be the third, and nobody has to take more than two of a peer (libp2p specification, "Ping").
    let mut rest = [0; 1];
    let _ = timeout(FAREWELL, stream.read(&mut rest)).await;
    Ok(fields(json!({"round_trip": round_trip})))
}

async fn routing_table(handle: &Handle) -> Answer {
    handle.with(|node| fields(json!({"peers": infos(&node.table())}))).await
}

async fn connections(handle: &Handle) -> Answer {
    let look = |node: &mut Node| {
        let open = node.connections.values().map(|(peer, point)| {
            let direction = if point.is_dialer() { "Outbound" } else { "Inbound" };
            json!({"id": peer.to_string(), "address": point.get_remote_address().to_string(), "direction": direction})
        });
        let open: Vec<_> = open.collect();
        fields(json!({"count": node.swarm.connected_peers().count(), "connections": open}))
    };
    handle.with(look).await
}

/// Identify pushes the change by itself.
async fn set_mode(handle: &Handle, request: &Request) -> Answer {
    let mode: Mode = config::mode(&request.mode).map_err(Failure::usage)?;
    handle.with(move |node| node.kad().set_mode(Some(mode))).await?;
    Ok(fields(json!({"mode": mode.to_string()})))
}

/// libp2p-kad sends requests as parts of queries. Only a put can be sent to one peer, and its reply is not shown.
async fn raw_request(handle: &Handle, request: &Request) -> Answer {
    if request.r#type != "PUT_VALUE" {
        return Err(Failure::new("unsupported", "libp2p-kad sends no single request but PUT_VALUE"));
    }
    let record = Record::new(key_of(request)?, bytes(&request.value, "value")?);
    let id = reach(handle, &request.peer).await?;
    let begin = move |kad: &mut Kad| Ok(kad.put_record_to(record, [id].into_iter(), Quorum::One));
    match Query::start(handle, begin).await?.end().await?.result {
        QueryResult::PutRecord(Ok(_)) => {
            Ok(fields(json!({"type": "PUT_VALUE", "record": null, "closer": [], "providers": []})))
        }
        _ => Err(Failure::new("failed", "the peer did not store it")),
    }
}

/// The record that the node's own key has under /pk.
async fn public_key(handle: &Handle) -> Answer {
    let public = handle.with(|node| node.key.clone()).await?;
    let key = [b"/pk/".as_slice(), &public.to_peer_id().to_bytes()].concat();
    Ok(fields(json!({"key": text_of(&key), "value": text_of(&public.encode_protobuf())})))
}

/// Connects, unless there is a connection.
pub async fn reach(handle: &Handle, peer: &str) -> Result<PeerId, Failure> {
    let address: Multiaddr = peer.parse().map_err(|error| Failure::usage(format!("peer {peer:?}: {error}")))?;
    let id = config::peer_of(&address).map_err(Failure::usage)?;
    let dialled = handle.with(move |node| node.dial(id, address)).await??;
    let outcome = dialled.await.map_err(|_| Failure::new("defect", "a dial without an end"))?;
    outcome.map_err(|error| Failure::new("unreachable", error))?;
    Ok(id)
}

async fn choice(handle: &Handle, key: &[u8]) -> Result<Choice, Failure> {
    let namespace = String::from_utf8_lossy(key).split('/').nth(1).unwrap_or_default().to_owned();
    handle.with(move |node| node.choices.get(&namespace).copied().unwrap_or(Choice::First)).await
}

fn key_of(request: &Request) -> Result<RecordKey, Failure> {
    Ok(RecordKey::from(bytes(&request.key, "key")?))
}

pub fn bytes(text: &str, name: &str) -> Result<Vec<u8>, Failure> {
    bytes_of(text).map_err(|error| Failure::usage(format!("{name}: {error}")))
}
