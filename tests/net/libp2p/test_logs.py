"""What the application's terminal and its own logging see of py-libp2p: nothing."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

PROGRAM = """
    import logging, sys, trio
    from p2pkad.config import HostConfig
    from p2pkad.core.peers import PeerId, PeerInfo
    from p2pkad.errors import PeerUnreachable
    from p2pkad.net.libp2p import new_host
    from p2pkad.wire.addresses import decode_address, parse_address

    def info(host):
        return PeerInfo(host.id, tuple(decode_address(each.to_bytes(), host.id) for each in host.get_addrs()))

    async def main():
        config = HostConfig(listen=("/ip4/127.0.0.1/tcp/0",))
        one, other = new_host(config), new_host(config)
        async with one.run(), other.run():
            await one.backbone.connect(info(other), trio.current_time() + 10)
            try:
                addresses = (*info(other).addresses, parse_address("/ip4/127.0.0.1/tcp/1"))
                nobody = PeerInfo(PeerId(b"\\x12\\x20" + bytes(32)), addresses)
                await one.backbone.connect(nobody, trio.current_time() + 10)
            except PeerUnreachable:
                pass
            await one.backbone.disconnect(other.id)

    trio.run(main)
    assert logging.getLogger().handlers == []
    print("done")
"""


@pytest.mark.long
def test_connecting_failing_and_closing_print_nothing_and_leave_the_root_logger_alone():
    program = textwrap.dedent(PROGRAM)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("done\n", "")
