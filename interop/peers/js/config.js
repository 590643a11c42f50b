// What the command line says. CONTROL.md lists the flags, which all peers share.

import { createHash } from 'node:crypto'
import { parseArgs } from 'node:util'
import { generateKeyPair, generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { multiaddr } from '@multiformats/multiaddr'
import { ipnsSelector } from 'ipns/selector'
import { ipnsValidator } from 'ipns/validator'

// What the caller has to write differently: a flag or a request.
export class UsageError extends Error {}

const FLAGS = {
  listen: { type: 'string', multiple: true, default: ['/ip4/127.0.0.1/tcp/0'] },
  protocol: { type: 'string', default: '/violence/kad/1.0.0' },
  mode: { type: 'string', default: 'server' },
  bootstrap: { type: 'string', multiple: true, default: [] },
  validator: { type: 'string', multiple: true, default: [] },
  'bucket-size': { type: 'string', default: '20' },
  alpha: { type: 'string' },
  beta: { type: 'string' },
  'ping-interval': { type: 'string' },
  seed: { type: 'string' }
}

// Any bytes are valid; of several values the largest, bytewise, is the best.
const OPAQUE = {
  validate: async () => {},
  select: (_, values) => values.reduce((best, value, index) => Buffer.compare(value, values[best]) > 0 ? index : best, 0)
}

// kad-dht has the rules of pk itself, under that name only.
const KINDS = { opaque: OPAQUE, ipns: { validate: ipnsValidator, select: ipnsSelector } }

export async function parseConfig (args) {
  const flags = parse(args)
  const { validators, selectors } = rules(flags.validator)
  return {
    listen: flags.listen,
    protocol: flags.protocol,
    mode: parseMode(flags.mode),
    bootstrap: flags.bootstrap.map(parseAddress),
    validators,
    selectors,
    bucketSize: number('bucket-size', flags['bucket-size']),
    alpha: flags.alpha === undefined ? undefined : number('alpha', flags.alpha),
    pingInterval: flags['ping-interval'] === undefined ? undefined : number('ping-interval', flags['ping-interval']),
    ignored: flags.beta === undefined ? [] : ['beta'],
    privateKey: await key(flags.seed)
  }
}

export function parseMode (text) {
  if (text !== 'server' && text !== 'client') {
    throw new UsageError(`mode ${text}: server or client`)
  }
  return text
}

// An address that ends in the id of a peer.
export function parseAddress (text) {
  try {
    const address = multiaddr(text)
    if (address.getComponents().at(-1)?.name === 'p2p') {
      return address
    }
  } catch (error) {
    throw new UsageError(`peer ${text}: ${error.message}`)
  }
  throw new UsageError(`peer ${text}: it does not end in /p2p/<id>`)
}

function parse (args) {
  try {
    return parseArgs({ args, options: FLAGS }).values
  } catch (error) {
    throw new UsageError(error.message)
  }
}

function rules (texts) {
  const validators = {}
  const selectors = {}
  for (const text of texts) {
    const [namespace, kind] = text.split('=')
    if (text === 'pk=pk') {
      continue
    }
    if (!Object.hasOwn(KINDS, kind ?? '')) {
      throw new UsageError(`validator ${text}: pk=pk, NAMESPACE=ipns or NAMESPACE=opaque`)
    }
    validators[namespace] = KINDS[kind].validate
    selectors[namespace] = KINDS[kind].select
  }
  return { validators, selectors }
}

function number (name, text) {
  if (!/^[1-9][0-9]*$/.test(text)) {
    throw new UsageError(`${name} ${text}: a whole number, 1 or more`)
  }
  return Number(text)
}

async function key (seed) {
  if (seed === undefined) {
    return generateKeyPair('Ed25519')
  }
  return generateKeyPairFromSeed('Ed25519', createHash('sha256').update(seed).digest())
}
