"""The border to py-libp2p: each of its errors, and the words for it on our side.

Nothing of py-libp2p's own errors leaves this package. What a caller sees is PeerUnreachable, PeerBusy, RequestFailed,
RequestTimeout or LocalLimit, with the original chained as its cause.
"""

from __future__ import annotations

import errno

import trio
from libp2p.exceptions import BaseLibp2pError, MultiError, ParseError, ValidationError
from libp2p.host.exceptions import ConnectionFailure, HostException, StreamFailure
from libp2p.io.exceptions import (
    ConnectionClosedError,
    DecryptionFailedException,
    IncompleteReadError,
    IOException,
    MessageTooLarge,
    MissingLengthException,
    MissingMessageException,
    MsgioException,
)
from libp2p.network.connection.exceptions import RawConnError
from libp2p.network.exceptions import RateLimitError, SwarmDialAllFailedError, SwarmException
from libp2p.network.stream.exceptions import StreamClosed, StreamEOF, StreamError, StreamReset
from libp2p.protocol_muxer.exceptions import (
    MultiselectClientError,
    MultiselectCommunicatorError,
    MultiselectError,
    ProtocolNotSupportedError,
)
from libp2p.security.exceptions import HandshakeFailure, SecurityError
from libp2p.security.noise.exceptions import (
    HandshakeHasNotFinished,
    InvalidSignature,
    NoiseFailure,
    NoiseStateError,
    PeerIDMismatchesPubkey,
)
from libp2p.security.tls.exceptions import MissingLibp2pExtensionError, TLSError, TLSHandshakeFailure
from libp2p.stream_muxer.exceptions import (
    MuxedConnError,
    MuxedConnUnavailable,
    MuxedStreamClosed,
    MuxedStreamEOF,
    MuxedStreamError,
    MuxedStreamReset,
)
from libp2p.transport.exceptions import (
    MuxerUpgradeFailure,
    OpenConnectionError,
    SecurityUpgradeFailure,
    UpgradeFailure,
)

HANDSHAKE = "the security handshake failed"
IMPOSTOR = "another peer answers there"
LOST = "the connection was lost"
CUT = "it ended in the middle of a message"
RESET = "the stream was reset"

AS_OURS: dict[type[BaseException], str] = {
    BaseLibp2pError: "failed",
    ConnectionClosedError: LOST,
    ConnectionFailure: "cannot connect",
    DecryptionFailedException: "what came cannot be decrypted",
    HandshakeFailure: HANDSHAKE,
    HandshakeHasNotFinished: HANDSHAKE,
    HostException: "the host failed",
    IncompleteReadError: CUT,
    InvalidSignature: HANDSHAKE,
    IOException: LOST,
    MessageTooLarge: "a message is too large",
    MissingLengthException: CUT,
    MissingLibp2pExtensionError: HANDSHAKE,
    MissingMessageException: CUT,
    MsgioException: CUT,
    MultiError: "failed in several ways",
    MultiselectClientError: "the protocol was refused",
    MultiselectCommunicatorError: "it ended during negotiation",
    MultiselectError: "the negotiation failed",
    MuxedConnError: LOST,
    MuxedConnUnavailable: LOST,
    MuxedStreamClosed: "the stream is closed",
    MuxedStreamEOF: RESET,
    MuxedStreamError: RESET,
    MuxedStreamReset: RESET,
    MuxerUpgradeFailure: "no common stream multiplexer",
    NoiseFailure: HANDSHAKE,
    NoiseStateError: HANDSHAKE,
    OpenConnectionError: "cannot open a connection",
    ParseError: "what came cannot be read",
    PeerIDMismatchesPubkey: IMPOSTOR,
    ProtocolNotSupportedError: "the protocol is not supported",
    RateLimitError: "too many attempts",
    RawConnError: LOST,
    SecurityError: HANDSHAKE,
    SecurityUpgradeFailure: HANDSHAKE,
    StreamClosed: "the stream is closed",
    StreamEOF: RESET,
    StreamError: RESET,
    StreamFailure: "the stream cannot be opened",
    StreamReset: RESET,
    SwarmDialAllFailedError: "no address answered",
    SwarmException: "cannot connect",
    TLSError: HANDSHAKE,
    TLSHandshakeFailure: HANDSHAKE,
    UpgradeFailure: "the connection cannot be upgraded",
    ValidationError: "what came is invalid",
}

FOREIGN: tuple[type[Exception], ...] = (
    BaseLibp2pError,
    EOFError,
    OSError,
    RateLimitError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
)
"""What reading, writing and opening can raise below us."""

_OS_REASONS = {
    errno.ECONNREFUSED: "connection refused",
    errno.EHOSTUNREACH: "no route to it",
    errno.ENETUNREACH: "no route to it",
    errno.ECONNABORTED: LOST,
    errno.ECONNRESET: LOST,
    errno.EBADF: LOST,
    errno.EPIPE: LOST,
    errno.ETIMEDOUT: "no answer",
    errno.EMFILE: "this process has too many open files",
    errno.ENFILE: "this machine has too many open files",
}


def hung_up(error: BaseException) -> bool:
    """Whether something failed because the other end closed the connection under it."""
    return reason(error) in (LOST, CUT)


def reason(error: BaseException) -> str:
    """Why something failed, in a few words: the deepest cause that says more than "failed"."""
    said = "failed"
    seen: BaseException | None = error
    while seen is not None:
        said = _words(seen) or said
        seen = seen.__cause__
    return said


def _words(error: BaseException) -> str | None:
    if "Peer ID mismatch" in str(error):  # TLS says so in a ValueError, noise has a class for it
        return IMPOSTOR
    if isinstance(error, BaseExceptionGroup):
        return reason(error.exceptions[0])
    if isinstance(error, OSError):
        return _OS_REASONS.get(error.errno or 0, error.strerror or str(error))
    for kind in type(error).__mro__:
        if kind in AS_OURS:
            return AS_OURS[kind]
    return None
