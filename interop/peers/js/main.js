// A js-libp2p Kademlia node that does what it is told: requests come in as JSON
// lines on standard input, answers go out on standard output.
// interop/CONTROL.md describes the protocol, which peers in every language share.

import { parseConfig, UsageError } from './config.js'
import { Controller } from './control.js'
import { Node } from './node.js'

// libp2p closes its connections one by one, and a peer that is gone answers none of that.
const CLOSE_SECONDS = 2

// Serves until standard input ends, "stop" is asked for, or a signal arrives.
async function run (config) {
  const node = await Node.start(config)
  const signalled = new Promise(resolve => ['SIGTERM', 'SIGINT'].forEach(name => process.once(name, resolve)))
  const controller = new Controller(node, process.stdout)
  controller.ready()
  await Promise.race([controller.serve(process.stdin), signalled])
  controller.cancel()
  await Promise.race([node.stop(), new Promise(resolve => setTimeout(resolve, CLOSE_SECONDS * 1000))])
}

try {
  await run(await parseConfig(process.argv.slice(2)))
  process.exit(0)
} catch (error) {
  console.error('peer:', error instanceof UsageError ? error.message : error)
  process.exit(error instanceof UsageError ? 2 : 1)
}
