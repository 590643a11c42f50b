"""A node over HTTP: real requests to a real node on loopback, well-meant and otherwise."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from urllib.request import urlopen

import httpx
import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import p2pkad
from p2pkad.errors import ConfigError
from p2pkad.events import BootstrapEnded
from p2pkad.ops import serving
from p2pkad.ops.http import OnlyFor, serve_http
from p2pkad.ops.metrics import Metrics
from tests.ops.conftest import FakeNode

LOCAL = {"listen": ("/ip4/127.0.0.1/tcp/0",)}
ANYWHERE = "127.0.0.1:0"


@pytest.fixture
async def url(node: FakeNode) -> AsyncIterator[str]:
    async with serve_http(node, ANYWHERE) as url:
        yield url


async def ask(url: str, method: str = "GET", **headers: str) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.request(method, url, headers=headers)


async def raw(url: str, sent: bytes) -> bytes:
    """What comes back until the other end closes."""
    stream = await connected(url)
    async with stream:
        await stream.send_all(sent)
        received = b""
        with trio.fail_after(30):
            while data := await stream.receive_some():
                received += data
        return received


async def connected(url: str) -> trio.SocketStream:
    host, port = url.removeprefix("http://").rsplit(":", 1)
    return await trio.open_tcp_stream(host, int(port))


async def test_two_real_nodes_are_ready_and_measured() -> None:
    async with (
        p2pkad.open_node(**LOCAL) as first,
        p2pkad.open_node(bootstrap=first.addresses, **LOCAL) as second,
        serve_http(first, ANYWHERE) as url,
        serve_http(second, ANYWHERE) as other,
    ):
        await second.wait_ready(timeout=30)
        await first.wait_ready(timeout=30)
        health = await ask(f"{other}/health")
        assert health.json() == {"live": True, "ready": True, "reason": "1 peer in the routing table"}
        answer = await ask(f"{url}/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found = {family.name: family for family in text_string_to_metric_families(answer.text)}
    assert [sample.value for sample in found["p2pkad_table_peers"].samples] == [1]
    assert {tuple(sample.labels.values()): sample.value for sample in found["p2pkad_connections"].samples} == {
        ("inbound",): 1,
        ("outbound",): 0,
    }
    (info,) = found["p2pkad_build_info"].samples
    assert info.labels["version"] == p2pkad.__version__
    assert found["process_resident_memory_bytes"].samples[0].value > 0


async def test_a_node_whose_bootstrap_peers_are_dead_says_so() -> None:
    async with p2pkad.open_node(**LOCAL) as gone:
        address = gone.addresses[0]
    attempted = trio.Event()
    async with p2pkad.open_node(bootstrap=[address], **LOCAL) as node, serve_http(node, ANYWHERE) as url:
        node.subscribe(lambda event: attempted.set(), BootstrapEnded)
        with trio.fail_after(30):
            await attempted.wait()
            answer = await ask(f"{url}/health")
    assert answer.status_code == 503
    told = answer.json()
    assert (told["live"], told["ready"]) == (True, False)
    assert told["reason"].startswith("no peers in the routing table: no bootstrap peer answered (")


@pytest.mark.parametrize(
    ("path", "closed", "status", "text"),
    [
        ("/health/live", False, 200, "live: alone"),
        ("/health/ready", False, 200, "ready: alone"),
        ("/health/live", True, 503, "not live: the node is closed"),
        ("/health/ready", True, 503, "not ready: the node is closed"),
        ("/metrics", True, 200, "# HELP p2pkad_lookups_total"),
    ],
)
async def test_each_page_says_how_the_node_is(
    url: str, node: FakeNode, path: str, closed: bool, status: int, text: str
) -> None:
    node.closed = closed
    answer = await ask(url + path)
    assert (answer.status_code, answer.text[: len(text)]) == (status, text)
    assert answer.headers["cache-control"] == "no-store"
    assert "server" not in answer.headers


@pytest.mark.parametrize("path", ["/", "/metric", "/health/", "/metrics/..", "/%2e%2e/etc/passwd"])
async def test_nothing_else_is_there(url: str, path: str) -> None:
    assert (await ask(url + path)).status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_what_is_not_reading_is_refused(url: str, method: str) -> None:
    answer = await ask(f"{url}/metrics", method)
    assert (answer.status_code, set(answer.headers["allow"].split(", "))) == (405, {"GET", "HEAD"})


async def test_head_is_get_without_the_body(url: str) -> None:
    answer = await ask(f"{url}/health", "HEAD")
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["content-length"]) > 0


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", ""])
async def test_a_page_that_was_bound_to_this_address_reads_nothing(url: str, host: str) -> None:
    answer = await ask(f"{url}/metrics", host=host)
    assert (answer.status_code, "p2pkad_" in answer.text) == (421, False)


async def test_who_speaks_an_http_without_hosts_is_answered(url: str) -> None:
    answer = await raw(url, b"GET /health/ready HTTP/1.0\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert (head.split()[1], body[:6]) == (b"200", b"ready:")
    for named in (b"", b"evil.example"):
        answer = await raw(url, b"GET /health/ready HTTP/1.0\r\nHost: " + named + b"\r\n\r\n")
        assert answer.split()[1] == b"421"


async def test_who_has_to_name_a_host_and_does_not_reads_nothing(url: str) -> None:
    answer = await raw(url, b"GET /metrics HTTP/1.1\r\n\r\n")
    assert (answer.split()[1], b"p2pkad_" in answer) == (b"400", False)


async def test_two_hosts_are_none(url: str) -> None:
    answer = await raw(url, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n")
    assert answer.split()[1] in (b"400", b"421")


@pytest.mark.parametrize(
    ("bound", "host", "known"),
    [
        ("127.0.0.1:80", "127.0.0.1", True),
        ("127.0.0.1:80", "LocalHost:9000", True),
        ("127.0.0.1:80", "[::1]:80", True),
        ("127.0.0.1:80", "node.internal", True),
        ("127.0.0.1:80", "192.0.2.1", False),
        ("192.0.2.1:80", "192.0.2.1:80", True),
        ("192.0.2.1:80", "192.0.2.2:80", False),
        ("0.0.0.0:80", "192.0.2.1:80", True),
        ("[::]:80", "[2001:db8::1]:80", True),
        ("0.0.0.0:80", "evil.example", False),
    ],
)
def test_a_node_is_known_by_its_address_and_by_names_that_were_given(bound: str, host: str, known: bool) -> None:
    assert OnlyFor(None, bound, ["Node.Internal"]).is_known(host) is known


@pytest.mark.parametrize(
    ("bind", "sentence"),
    [
        ("0.0.0.0:0", "other machines reach this address"),
        ("[::]:0", "other machines reach this address"),
        ("192.0.2.1:0", "other machines reach this address"),
        ("8080", "write an IP address and a port"),
        ("127.0.0.1", "write an IP address and a port"),
        ("127.0.0.1:", "write an IP address and a port"),
        ("127.0.0.1:65536", "write an IP address and a port"),
        ("127.0.0.1:-1", "write an IP address and a port"),
        ("example.org:80", "write an IP address and a port"),
        ("", "write an IP address and a port"),
    ],
)
async def test_an_address_that_cannot_be_is_refused_in_a_line(node: FakeNode, bind: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        async with serve_http(node, bind):
            pass
    assert str(caught.value).startswith(f"http={bind!r}: ")
    assert not node.listeners


@pytest.mark.parametrize(
    ("bind", "remote", "begin"),
    [
        ("localhost:0", False, "http://127.0.0.1:"),
        ("[::1]:0", False, "http://[::1]:"),
        ("[::ffff:127.0.0.1]:0", False, "http://[::ffff:127.0.0.1]:"),
        ("0.0.0.0:0", True, "http://0.0.0.0:"),
    ],
)
async def test_where_it_listens_is_said(node: FakeNode, bind: str, remote: bool, begin: str) -> None:
    async with serve_http(node, bind, remote=remote) as url:
        assert url.startswith(begin)
        assert (await ask(f"{url}/health")).status_code == 200


async def test_a_port_that_is_taken_is_one_clear_line(node: FakeNode, url: str) -> None:
    taken = url.removeprefix("http://")
    with pytest.raises(ConfigError) as caught:
        async with serve_http(node, taken):
            pass
    assert str(caught.value) == (
        f"http={taken!r}: cannot listen there: Address already in use. Stop the other program, or take port 0 for a free one"
    )


async def test_a_port_is_free_again_when_the_block_is_left(node: FakeNode) -> None:
    async with serve_http(node, ANYWHERE) as url:
        await ask(f"{url}/health")
    async with serve_http(node, url.removeprefix("http://")) as again:
        assert again == url
    assert not node.listeners


async def test_what_the_block_raises_comes_out_as_it_is(node: FakeNode) -> None:
    with pytest.raises(ZeroDivisionError):
        async with serve_http(node, ANYWHERE):
            raise ZeroDivisionError


async def test_the_application_has_metrics_and_routes_of_its_own(node: FakeNode) -> None:
    async def hello(request: object) -> PlainTextResponse:
        return PlainTextResponse("hello")

    with Metrics(node) as metrics:
        async with serve_http(node, ANYWHERE, metrics=metrics, routes=[Route("/hello", hello)], hosts=["node.internal"]) as url:
            assert (await ask(f"{url}/hello", host="node.internal")).text == "hello"
        assert node.listeners, "whose metrics they are closes them"


async def test_a_route_that_fails_is_500_and_the_next_request_is_answered(node: FakeNode) -> None:
    async def broken(request: object) -> PlainTextResponse:
        raise ZeroDivisionError

    async with serve_http(node, ANYWHERE, routes=[Route("/broken", broken)]) as url:
        assert (await ask(f"{url}/broken")).status_code == 500
        assert (await ask(f"{url}/health")).status_code == 200


async def test_who_leaves_with_the_last_byte_that_it_wants_is_no_error(url: str, caplog: pytest.LogCaptureFixture) -> None:
    def come() -> None:  # from a thread of its own: it leaves in the middle of what is done here
        for _ in range(100):
            with urlopen(f"{url}/health/live") as answer:
                assert answer.read().startswith(b"live")

    await trio.to_thread.run_sync(come)
    assert [each.getMessage() for each in caplog.records if each.name == serving.__name__] == []


NONSENSE = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /%ff%fe HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET http://evil.example/metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"X-Long: " + b"a" * 70_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n",
    b"POST /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    b"POST /health HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: !!\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9) + b"\xff" * 100,
]


@pytest.mark.parametrize("sent", NONSENSE, ids=range(len(NONSENSE)))
async def test_nonsense_does_no_harm(url: str, sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "LONGEST", 2.0)
    answer = b""
    with suppress(trio.BrokenResourceError):
        answer = await raw(url, sent)
    assert b"p2pkad_" not in answer
    assert (await ask(f"{url}/health")).status_code == 200


async def test_an_upgrade_to_another_http_is_not_taken_up(url: str) -> None:
    asked = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\n"
    answer = await raw(url, asked + b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert json.loads(body)["live"]


@pytest.mark.parametrize("behind", [b"", b"\r\n", b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"])
@pytest.mark.parametrize("ends", [True, False])
async def test_whatever_comes_behind_a_question_its_answer_comes_whole(node: FakeNode, behind: bytes, ends: bool) -> None:
    async def slow(request: object) -> PlainTextResponse:
        await trio.sleep(0.05)
        return PlainTextResponse("x" * 100_000)

    async with serve_http(node, ANYWHERE, routes=[Route("/slow", slow)]) as url, await connected(url) as stream:
        await stream.send_all(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n" + behind)
        if ends:
            await stream.send_eof()
        received = b""
        with trio.fail_after(30):
            while data := await stream.receive_some():
                received += data
    assert received.endswith(b"\r\n\r\n" + b"x" * 100_000)


async def test_a_websocket_that_is_none_keeps_nobody_waiting(url: str) -> None:
    asked = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    with trio.fail_after(serving.LONGEST / 2):
        assert (await raw(url, asked)).startswith(b"HTTP/1.1 200")


async def test_who_is_gone_before_it_is_looked_at_is_no_error(url: str, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(20):
        stream = await connected(url)
        stream.socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.socket.close()  # with a reset
    await ask(f"{url}/health/live")
    assert [each.getMessage() for each in caplog.records if each.name == serving.__name__] == []


async def test_who_begins_with_another_http_is_told_at_once(url: str) -> None:
    preface_and_settings = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
    assert (await raw(url, preface_and_settings)).startswith(b"HTTP/1.1 505 ")


async def test_who_says_nothing_or_says_it_slowly_keeps_no_question_waiting(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "SILENCE", 3600.0)
    monkeypatch.setattr(serving, "LONGEST", 3600.0)
    most = serving.MOST_CONNECTIONS
    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
        idle = [await stack.enter_async_context(await connected(url)) for _ in range(3 * most)]

        async def drip(stream: trio.SocketStream) -> None:
            with suppress(trio.BrokenResourceError):
                for byte in b"GET /health HTTP/1.1\r\nX-Slow: " + b"a" * 10_000:
                    await stream.send_all(bytes([byte]))
                    await trio.sleep(0.02)

        for stream in idle[::2]:
            nursery.start_soon(drip, stream)
        for _ in range(3):
            assert (await ask(f"{url}/health")).status_code == 200
        with trio.fail_after(30):
            for stream in idle[: 2 * most + 1 : 2]:  # those that came first went first
                with suppress(trio.BrokenResourceError):
                    assert await stream.receive_some() == b""
        nursery.cancel_scope.cancel()


async def test_who_has_asked_is_not_sent_away_for_who_comes_after(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "MOST_CONNECTIONS", 2)
    asked, go_on = trio.Semaphore(0), trio.Event()

    async def long(request: object) -> PlainTextResponse:
        asked.release()
        await go_on.wait()
        return PlainTextResponse("done")

    async with serve_http(node, ANYWHERE, routes=[Route("/long", long)]) as url:
        answered = []

        async def come(path: str) -> None:
            answered.append((path, (await ask(url + path)).text[:4]))

        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                for _ in range(2):
                    nursery.start_soon(come, "/long")
                for _ in range(2):
                    await asked.acquire()
                nursery.start_soon(come, "/health/live")
                await trio.sleep(0.1)
                assert answered == []
                go_on.set()
    assert sorted(answered) == [("/health/live", "live"), ("/long", "done"), ("/long", "done")]


@pytest.mark.parametrize("bound", ["SILENCE", "LONGEST"])
async def test_who_says_nothing_is_closed_on(url: str, bound: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "SILENCE", 3600.0)
    monkeypatch.setattr(serving, bound, 0.1)
    with trio.fail_after(30):
        assert await raw(url, b"GET /health HTTP/1.1\r\nX-Never: ") == b""


async def test_who_does_not_read_keeps_nobody_from_closing(node: FakeNode) -> None:
    sent = trio.Event()

    async def endless(request: object) -> PlainTextResponse:
        sent.set()
        return PlainTextResponse("x" * 50_000_000)

    with trio.fail_after(10):
        async with serve_http(node, ANYWHERE, routes=[Route("/endless", endless)]) as url:
            host, port = url.removeprefix("http://").split(":")
            with socket.create_connection((host, int(port))) as peer:
                peer.sendall(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n")
                await sent.wait()
                await trio.sleep(0.1)  # it is stuck in the middle of its answer
