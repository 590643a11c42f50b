"""Bytes from and for the wire: frames, messages, addresses, content keys. No I/O, no clock.

framing     a stream of bytes <-> frames
codec       a frame <-> a message of p2pkad.core.messages
addresses   a multiaddr, in binary or as text <-> Address
content     a CID, a multihash or the content itself -> the key of its providers
envelope    a signed envelope and what p2pkad puts into one <-> their bytes
pb          generated from protos/
"""
