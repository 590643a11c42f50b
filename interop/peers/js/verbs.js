// All that can be asked, "stop" apart. CONTROL.md describes the verbs in this order.

import { setTimeout as sleep } from 'node:timers/promises'
import { bytesOf, contentOf, Failure, idOf, noPeers, textOf } from './answers.js'
import { parseAddress, parseMode, UsageError } from './config.js'
import { choose, judge, publicKey, signName } from './records.js'
import { rawRequest } from './request.js'
import { rawStream } from './stream.js'

// How often something is looked at that has no event.
const POLL_MILLISECONDS = 10

export const VERBS = {
  identity,
  connect,
  bootstrap,
  put,
  get,
  holds,
  provide,
  find_providers: findProviders,
  find_peer: findPeer,
  closest_peers: closestPeers,
  ping,
  routing_table: routingTable,
  connections,
  set_mode: setMode,
  request: rawRequest,
  stream: rawStream,

  judge,
  choose,
  public_key: publicKey,
  sign_name: signName
}

export function identity (node) {
  return { peer: node.own, mode: node.dht.getMode(), protocol: node.protocol }
}

async function connect (node, { peer }, signal) {
  await reach(node, peer, signal)
  return {}
}

// Connects to the given peers, waits until one of them is in the routing table, and refreshes it.
// The refresh of the farther buckets goes on by itself: nobody can wait for that.
async function bootstrap (node, { peers }, signal) {
  for (const peer of peers ?? []) {
    await reach(node, peer, signal)
  }
  while (node.table.length === 0) {
    await sleep(POLL_MILLISECONDS, undefined, { signal })
  }
  await node.dht.querySelf.querySelf()
  await node.dht.refreshRoutingTable({ signal })
  return { table: node.table.length }
}

// Neither its validator nor a better record of its own keeps kad-dht from a put.
async function put (node, { key, value }, signal) {
  needPeers(node)
  const chosen = new Set()
  const reached = new Set()
  const stored = new Set()
  for await (const event of node.dht.put(bytesOf(key), bytesOf(value), { signal })) {
    if (event.name === 'FINAL_PEER') {
      chosen.add(event.peer.id.toString())
    } else if (event.name === 'SEND_QUERY' && event.messageName === 'PUT_VALUE') {
      reached.add(event.to.toString())
    } else if (event.name === 'PEER_RESPONSE' && event.messageName === 'PUT_VALUE') {
      stored.add(event.from.toString())
    } else if (event.name === 'QUERY_ERROR') {
      stored.delete(event.from.toString()) // what came back was something else
    }
  }
  if (stored.size === 0) {
    throw new Failure('failed', 'nobody stored it')
  }
  return { stored: [...stored], refused: [...reached.difference(stored)], unreachable: [...chosen.difference(reached)] }
}

// kad-dht has no quorum: it asks all of the nearest.
async function get (node, { key }, signal) {
  if (node.table.length === 0) {
    return await getAlone(node, key, signal)
  }
  const asked = new Set()
  const answered = new Set()
  const values = new Map()
  let best
  for await (const event of node.dht.get(bytesOf(key), { signal })) {
    if (event.name === 'SEND_QUERY') {
      asked.add(event.to.toString())
    } else if (event.name === 'PEER_RESPONSE') {
      answered.add(event.from.toString())
      values.set(event.from.toString(), event.record?.value)
    } else if (event.name === 'VALUE') {
      best = event.value
      values.set(event.from.toString(), event.value)
    }
  }
  if (best === undefined) {
    throw new Failure('not_found', 'nobody who was asked has it')
  }
  const holders = [...values].filter(([, value]) => value !== undefined && Buffer.compare(value, best) === 0).map(([id]) => id)
  return { value: textOf(best), holders, asked: asked.size, answered: answered.size }
}

async function getAlone (node, key, signal) {
  try {
    const { value } = await node.dht.contentFetching.getLocal(bytesOf(key), { signal })
    return { value: textOf(value), holders: [node.own.id], asked: 0, answered: 0 }
  } catch {
    throw noPeers()
  }
}

// What is in the node's own store under a key, without asking anybody.
async function holds (node, { key }, signal) {
  const value = await node.dht.contentFetching.getLocal(bytesOf(key), { signal }).then(() => true, () => false)
  let providers = []
  try {
    providers = await node.dht.providers.getProviders(contentOf(key), { signal })
  } catch (error) {
    if (!(error instanceof UsageError)) { // a record key is no multihash
      throw error
    }
  }
  return { value, providers: await node.infos(providers.map(id => ({ id }))) }
}

async function provide (node, { key }, signal) {
  needPeers(node)
  const sent = new Set()
  for await (const event of node.dht.provide(contentOf(key), { signal })) {
    if (event.name === 'SEND_QUERY' && event.messageName === 'ADD_PROVIDER') {
      sent.add(event.to.toString())
    }
  }
  return { sent: [...sent] }
}

// kad-dht stops by itself when it has found as many as fit into a bucket.
async function findProviders (node, { key, count = 0 }, signal) {
  needPeers(node)
  const found = new Map()
  for await (const event of node.dht.findProviders(contentOf(key), { signal })) {
    if (event.name === 'PROVIDER') {
      event.providers.forEach(peer => found.set(peer.id.toString(), peer))
    }
    if (count > 0 && found.size >= count) {
      break
    }
  }
  return { providers: await node.infos([...found.values()].slice(0, count || undefined)) }
}

async function findPeer (node, { peer }, signal) {
  const id = idOf(peer)
  needPeers(node)
  for await (const event of node.dht.findPeer(id, { signal })) {
    if (event.name === 'FINAL_PEER') {
      return { peer: await node.info(event.peer) }
    }
  }
  throw new Failure('not_found', 'nobody who was asked knows it')
}

async function closestPeers (node, { key }, signal) {
  needPeers(node)
  const found = []
  for await (const event of node.dht.getClosestPeers(bytesOf(key), { signal })) {
    if (event.name === 'FINAL_PEER') {
      found.push(event.peer)
    }
  }
  return { peers: await node.infos(found) }
}

async function ping (node, { peer }, signal) {
  const milliseconds = await node.host.services.ping.ping(idOf(peer), { signal })
  return { round_trip: milliseconds / 1000 }
}

async function routingTable (node) {
  return { peers: await node.infos(node.table.map(id => ({ id }))) }
}

function connections (node) {
  const open = node.host.getConnections().map(connection => ({
    id: connection.remotePeer.toString(),
    address: connection.remoteAddr.toString(),
    direction: connection.direction
  }))
  return { count: node.host.getPeers().length, connections: open }
}

// identifyPush tells the connected peers by itself.
async function setMode (node, { mode }, signal) {
  await node.dht.setMode(parseMode(mode), { signal })
  return { mode: node.dht.getMode() }
}

// Connects, unless there is a connection.
export async function reach (node, text, signal) {
  const address = parseAddress(text)
  try {
    await node.host.dial(address, { signal })
  } catch (error) {
    throw new Failure('unreachable', error.message)
  }
}

// kad-dht would wait for the first peer until the time is up.
function needPeers (node) {
  if (node.table.length === 0) {
    throw noPeers()
  }
}
