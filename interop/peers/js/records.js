// Records of /pk and /ipns as this implementation makes and judges them.

import { publicKeyToProtobuf, privateKeyFromProtobuf } from '@libp2p/crypto/keys'
import { createIPNSRecordWithExpiration, marshalIPNSRecord, multihashToIPNSRoutingKey } from 'ipns'
import { bytesOf, Failure, textOf } from './answers.js'

// Whether the validator of the namespace takes a record.
export async function judge (node, { key, value }) {
  const validate = rule(node.rules.validators, key)
  try {
    await validate(bytesOf(key), bytesOf(value))
  } catch (error) {
    throw new Failure('refused', error.message)
  }
  return {}
}

// The index of the value that the selector of the namespace prefers.
export async function choose (node, { key, values }) {
  return { best: await rule(node.rules.selectors, key)(bytesOf(key), values.map(bytesOf)) }
}

export function publicKey (node, request) {
  const { publicKey } = privateKey(node, request)
  const key = Buffer.concat([Buffer.from('/pk/'), publicKey.toMultihash().bytes])
  return { key: textOf(key), value: textOf(publicKeyToProtobuf(publicKey)) }
}

export async function signName (node, request) {
  const owner = privateKey(node, request)
  const options = { v1Compatible: request.v2_only !== true }
  if (request.ttl !== undefined) {
    options.ttlNs = BigInt(request.ttl)
  }
  const target = Buffer.from(bytesOf(request.value)).toString()
  const record = await createIPNSRecordWithExpiration(owner, target, BigInt(request.sequence ?? 0), request.expires, options)
  const key = multihashToIPNSRoutingKey(owner.publicKey.toMultihash())
  return { key: textOf(key), value: textOf(marshalIPNSRecord(record)) }
}

// The node's own key when the request has none.
function privateKey (node, request) {
  return request.private === undefined ? node.privateKey : privateKeyFromProtobuf(bytesOf(request.private))
}

function rule (rules, key) {
  const namespace = Buffer.from(bytesOf(key)).toString('latin1').split('/')[1]
  if (rules[namespace] === undefined) {
    throw new Failure('refused', `nobody judges /${namespace}/`)
  }
  return rules[namespace]
}
