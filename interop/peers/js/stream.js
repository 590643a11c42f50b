// Bytes on a stream of its own, and the frames that come back.

import { lpStream } from '@libp2p/utils'
import { bytesOf, idOf, textOf } from './answers.js'
import { reach } from './verbs.js'

// How errors of libp2p are called when the peer has ended its side, and when it has reset the stream.
const ENDS = { UnexpectedEOFError: 'closed', StreamResetError: 'reset' }

export async function rawStream (node, { peer, value, count = 0, half_close: halfClose = false }, signal) {
  await reach(node, peer, signal)
  const stream = await node.host.dialProtocol(idOf(peer.split('/p2p/').at(-1)), node.protocol, { signal })
  const frames = lpStream(stream)
  stream.send(bytesOf(value))
  if (halfClose) {
    await stream.close({ signal })
  }
  try {
    return await read(frames, count, signal)
  } finally {
    stream.abort(new Error('done'))
  }
}

// As many frames, or all until the stream ends when count is 0.
async function read (frames, count, signal) {
  const found = []
  while (count === 0 || found.length < count) {
    try {
      found.push(textOf((await frames.read({ signal })).subarray()))
    } catch (error) {
      if (ENDS[error.name] === undefined) {
        throw error
      }
      return { frames: found, end: ENDS[error.name] }
    }
  }
  return { frames: found, end: null }
}
