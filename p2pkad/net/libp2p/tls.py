"""TLS, where writing after the end fails as it does with noise.

py-libp2p raises a RuntimeError when something is written to a TLS connection that this end has closed. That is nobody's
mistake: the reader of a connection closes it as soon as the other end is gone, and a request may be on its way down. To the
layers above, the connection is lost.
"""

from __future__ import annotations

from libp2p.abc import IRawConnection, ISecureConn
from libp2p.io.abc import EncryptedMsgReadWriter
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.peer.id import ID
from libp2p.security.secure_session import SecureSession
from libp2p.security.tls.transport import TLSTransport


class Tls(TLSTransport):
    """py-libp2p's transport, with a `Channel` around what it makes of a connection."""

    async def secure_inbound(self, conn: IRawConnection) -> ISecureConn:
        return _mended(await super().secure_inbound(conn))

    async def secure_outbound(self, conn: IRawConnection, peer_id: ID) -> ISecureConn:
        return _mended(await super().secure_outbound(conn, peer_id))


def _mended(session: ISecureConn) -> ISecureConn:
    assert isinstance(session, SecureSession)
    session.conn = Channel(session.conn)
    return session


class Channel(EncryptedMsgReadWriter):
    """The bytes of a TLS connection, both ways. The base class asks `conn` for what it does not know itself."""

    conn: EncryptedMsgReadWriter

    async def read_msg(self) -> bytes:
        return await self.conn.read_msg()

    async def write_msg(self, msg: bytes) -> None:
        try:
            await self.conn.write_msg(msg)
        except RuntimeError as error:
            raise ConnectionClosedError("the connection has ended", transport="tls") from error

    def encrypt(self, data: bytes) -> bytes:
        return self.conn.encrypt(data)

    def decrypt(self, data: bytes) -> bytes:
        return self.conn.decrypt(data)

    async def close(self) -> None:
        await self.conn.close()
