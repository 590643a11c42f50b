// What verbs read from requests, and how they say that something failed.

import { peerIdFromString } from '@libp2p/peer-id'
import { CID } from 'multiformats/cid'
import * as raw from 'multiformats/codecs/raw'
import * as Digest from 'multiformats/hashes/digest'
import { UsageError } from './config.js'

// kind: one of the words that CONTROL.md lists.
export class Failure extends Error {
  constructor (kind, text) {
    super(text)
    this.kind = kind
  }
}

export const noPeers = () => new Failure('no_peers', 'the routing table is empty')

export function bytesOf (text) {
  if (typeof text !== 'string') {
    throw new UsageError('a field in base64 is missing')
  }
  return new Uint8Array(Buffer.from(text, 'base64'))
}

export function textOf (data) {
  return Buffer.from(data).toString('base64')
}

// A CID of a multihash: providers are kept under the multihash alone.
export function contentOf (key) {
  try {
    return CID.createV1(raw.code, Digest.decode(bytesOf(key)))
  } catch (error) {
    throw new UsageError(`key: ${error.message}`)
  }
}

export function idOf (text) {
  try {
    return peerIdFromString(text)
  } catch (error) {
    throw new UsageError(`peer ${text}: ${error.message}`)
  }
}
