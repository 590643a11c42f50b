"""What may stand under a key: the rules of the namespaces.

base         what a validator promises, and the registry that a node asks
public_key   /pk: public keys by peer id
ipns         /ipns: names that lead to content, signed by their keys
signed       signed envelopes: the newest that its signer may write
newest       JSON objects with a timestamp
opaque       any bytes

Nothing is imported here: config needs `base` alone.
"""
