"""Public keys by peer id: the namespace `pk`.

The key is `/pk/` and the bytes of a peer id, not its text; the value is the marshalled public key that this id belongs to.
With it a reader can check signatures of a peer whose id is only the hash of its key (RSA, ECDSA). As in go and js.
kad-dht r2, "Entry validation".
"""

from __future__ import annotations

from collections.abc import Sequence

from p2pkad.core.peers import PeerId
from p2pkad.errors import InvalidRecord, RemoteProtocolError
from p2pkad.identity import PublicKey

_PREFIX = b"/pk/"


class PublicKeyValidator:
    """Accepts under a peer id the one public key that it is made from."""

    def validate(self, key: bytes, value: bytes, now: float) -> None:
        """Raises InvalidRecord unless `value` is the public key of the peer that `key` names. `now` does not matter."""
        named = key.removeprefix(_PREFIX)
        if not key.startswith(_PREFIX) or not PeerId.valid(named):
            raise InvalidRecord(key, "the key is not /pk/ and the bytes of a peer id")
        try:
            found = PublicKey.from_protobuf(value).id
        except RemoteProtocolError as error:
            raise InvalidRecord(key, error.reason) from error
        if found != named:
            raise InvalidRecord(key, f"the public key belongs to {found}, not to {PeerId(named)}")

    def select(self, key: bytes, values: Sequence[bytes]) -> int:
        """The first: a peer id has one valid value, so they are all the same."""
        return 0
