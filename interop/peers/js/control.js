// Turns lines into verbs and results into lines. Verbs run concurrently.

import { createInterface } from 'node:readline'
import { Failure } from './answers.js'
import { UsageError } from './config.js'
import { versions } from './node.js'
import { identity, VERBS } from './verbs.js'

// When a request says nothing.
const TIMEOUT_SECONDS = 30

// Words of CONTROL.md for errors of libp2p, by their names.
const KINDS = {
  NotFoundError: 'not_found',
  UnsupportedProtocolError: 'unsupported',
  TimeoutError: 'timeout',
  DialError: 'unreachable',
  DialedTooManyError: 'unreachable',
  NoValidAddressesError: 'unreachable',
  ConnectionFailedError: 'unreachable',
  TypeError: 'defect',
  RangeError: 'defect',
  ReferenceError: 'defect'
}

export class Controller {
  #node
  #output
  #cancelled = new AbortController()

  constructor (node, output) {
    this.#node = node
    this.#output = output
  }

  // The first line: the node serves, and this is where.
  ready () {
    this.#write({ event: 'ready', ...identity(this.#node), versions: versions(), ignored: this.#node.ignored })
  }

  // Answers requests until the input ends or "stop" comes. What still runs then is for `cancel` to end.
  async serve (input) {
    for await (const line of createInterface({ input })) {
      let request
      try {
        request = { timeout: TIMEOUT_SECONDS, ...JSON.parse(line) }
      } catch (error) {
        this.#write({ id: null, ok: false, error: { kind: 'usage', text: error.message }, seconds: 0 })
        continue
      }
      if (request.verb === 'stop') {
        this.#write({ id: request.id, ok: true, seconds: 0 })
        return
      }
      void this.#execute(request)
    }
  }

  cancel () {
    this.#cancelled.abort()
  }

  // Runs one verb under its own deadline, which holds even where libp2p takes no signal.
  async #execute (request) {
    const started = performance.now()
    const limit = AbortSignal.timeout(request.timeout * 1000)
    const signal = AbortSignal.any([limit, this.#cancelled.signal])
    const late = Promise.withResolvers()
    const isLate = () => late.reject(new Failure('timeout', `not done in ${request.timeout} s`))
    signal.addEventListener('abort', isLate)
    let answer
    try {
      const verb = VERBS[request.verb]
      if (verb === undefined) {
        throw new Failure('unsupported', `verb ${request.verb}`)
      }
      answer = { ok: true, ...await Promise.race([verb(this.#node, request, signal), late.promise]) }
    } catch (error) {
      const kind = limit.aborted ? 'timeout' : kindOf(error)
      answer = { ok: false, error: { kind, text: `${error.message || error.name}` } }
    }
    signal.removeEventListener('abort', isLate)
    this.#write({ id: request.id ?? null, ...answer, seconds: (performance.now() - started) / 1000 })
  }

  #write (line) {
    this.#output.write(JSON.stringify(line) + '\n')
  }
}

function kindOf (error) {
  if (error instanceof Failure) {
    return error.kind
  }
  if (error instanceof UsageError) {
    return 'usage'
  }
  const kind = KINDS[error.name] ?? 'failed'
  if (kind === 'defect') {
    console.error(error)
  }
  return kind
}
