// A libp2p host with a DHT on it, and where the node needs more of libp2p than its interface shows.

import { readFileSync } from 'node:fs'
import { identify, identifyPush } from '@libp2p/identify'
import { kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { noise } from '@libp2p/noise'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { createLibp2p } from 'libp2p'

// All peers of a test share one host, which libp2p lets in five times a second, and they come at once: of those that shake
// hands it turns the eleventh away.
const CONNECTIONS_A_SECOND = 1000
const HANDSHAKES_AT_ONCE = 1000

// To one peer. By default it is one, and the verb would be in the way of the routing table, or the other way round.
const PINGS_AT_ONCE = 8

// For the first look around itself, before which the DHT does nothing else.
const FIRST_LOOK_MILLISECONDS = 1

// By default kad-dht gives a peer 5 seconds. Twenty peers of a test share two processors, with others: who asked decides how long.
const PATIENCE = { minTimeout: 30_000 }

const SPOKEN = ['libp2p', '@libp2p/kad-dht', '@libp2p/identify', '@libp2p/noise', '@libp2p/yamux', 'ipns']

export class Node {
  static async start (config) {
    const host = await createLibp2p({
      privateKey: config.privateKey,
      addresses: { listen: config.listen },
      transports: [tcp()],
      connectionEncrypters: [noise()],
      streamMuxers: [yamux()],
      connectionGater: { denyDialMultiaddr: () => false },
      connectionManager: {
        inboundConnectionThreshold: CONNECTIONS_A_SECOND,
        maxIncomingPendingConnections: HANDSHAKES_AT_ONCE
      },
      connectionMonitor: monitor(config.pingInterval),
      services: {
        identify: identify(),
        identifyPush: identifyPush(), // without it nobody would hear of a change of modes
        ping: ping({ maxOutboundStreams: PINGS_AT_ONCE }),
        dht: kadDHT({
          protocol: config.protocol,
          clientMode: config.mode === 'client',
          kBucketSize: config.bucketSize,
          alpha: config.alpha,
          validators: config.validators,
          selectors: config.selectors,
          networkDialTimeout: PATIENCE,
          pingNewContactTimeout: PATIENCE,
          pingOldContactTimeout: PATIENCE,
          onPeerConnectTimeout: PATIENCE.minTimeout,
          incomingMessageTimeout: PATIENCE.minTimeout,
          peerInfoMapper: passthroughMapper, // loopback is a network like any other
          initialQuerySelfInterval: FIRST_LOOK_MILLISECONDS
        })
      }
    })
    const node = new Node(host, config)
    for (const address of config.bootstrap) {
      host.dial(address).catch(error => { console.error(`bootstrap ${address}:`, error.message) })
    }
    return node
  }

  constructor (host, config) {
    this.host = host
    this.dht = host.services.dht
    this.protocol = config.protocol
    this.ignored = config.ignored
    this.privateKey = config.privateKey
    this.rules = { validators: this.dht.validators, selectors: this.dht.selectors }
  }

  async stop () {
    await this.host.stop()
  }

  get own () {
    return { id: this.host.peerId.toString(), addresses: this.host.getMultiaddrs().map(String) }
  }

  // The ids in the routing table, of which the interface only tells how many they are.
  get table () {
    return [...this.dht.routingTable.kb.toIterable()].map(entry => entry.peerId)
  }

  // A peer with the addresses that are given or, without any, those in the peer store.
  async info ({ id, multiaddrs = [] }) {
    let addresses = multiaddrs
    if (addresses.length === 0) {
      addresses = await this.host.peerStore.getInfo(id).then(peer => peer.multiaddrs, () => [])
    }
    return { id: id.toString(), addresses: addresses.map(String) }
  }

  async infos (peers) {
    return Promise.all(peers.map(async peer => this.info(peer)))
  }
}

// It hangs up where a ping fails, and at rust a ping fails whenever another begins: of two at once, which are rare, a cell
// would be red for ever after. So it watches nobody unless it is told to.
function monitor (pingInterval) {
  return pingInterval === undefined ? { enabled: false } : { pingInterval }
}

// The versions of Node and of the packages that speak on the wire.
export function versions () {
  const found = { node: process.versions.node }
  for (const name of SPOKEN) {
    const text = readFileSync(new URL(`./node_modules/${name}/package.json`, import.meta.url), 'utf8')
    found[name] = JSON.parse(text).version
  }
  return found
}
