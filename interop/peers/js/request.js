// A single request to a single peer, as kad-dht itself sends it.

import { Libp2pRecord } from '@libp2p/record'
import { bytesOf, Failure, idOf, textOf } from './answers.js'
import { UsageError } from './config.js'
import { reach } from './verbs.js'

const TYPES = ['PUT_VALUE', 'GET_VALUE', 'ADD_PROVIDER', 'GET_PROVIDERS', 'FIND_NODE', 'PING']

// Events say which of several paths of a query they belong to. Here there is no query.
const NO_PATH = { index: -1, queued: 0, running: 0, total: 0 }

export async function rawRequest (node, request, signal) {
  if (!TYPES.includes(request.type)) {
    throw new UsageError(`type ${request.type}: one of ${TYPES.join(', ')}`)
  }
  await reach(node, request.peer, signal)
  const id = idOf(request.peer.split('/p2p/').at(-1))
  const network = node.dht.network
  const send = request.type === 'ADD_PROVIDER' ? network.sendMessage : network.sendRequest
  for await (const event of send.call(network, id, message(node, request), { signal, path: NO_PATH })) {
    if (event.name === 'QUERY_ERROR') {
      throw new Failure('failed', event.error.message)
    }
    if (event.name === 'PEER_RESPONSE') {
      return request.type === 'ADD_PROVIDER' ? { type: null } : await reply(node, event)
    }
  }
  throw new Failure('failed', 'no reply')
}

function message (node, { type, key, value }) {
  const made = { type, key: bytesOf(key) }
  if (type === 'PUT_VALUE') {
    made.record = new Libp2pRecord(made.key, bytesOf(value), new Date()).serialize()
  }
  if (type === 'ADD_PROVIDER') {
    const multiaddrs = node.host.getMultiaddrs().map(address => address.bytes)
    made.providers = [{ id: node.host.peerId.toMultihash().bytes, multiaddrs }]
  }
  return made
}

async function reply (node, event) {
  const record = event.record && { key: textOf(event.record.key), value: textOf(event.record.value) }
  return {
    type: event.messageName,
    record: record ?? null,
    closer: await node.infos(event.closer),
    providers: await node.infos(event.providers)
  }
}
