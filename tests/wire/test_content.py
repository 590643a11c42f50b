"""Whatever names a content, its key is one multihash."""

import base58
import cid
import multibase
import multihash
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pkad.core.peers import PeerId
from p2pkad.errors import LocalProtocolError
from p2pkad.wire.content import MAX_PROVIDER_KEY, content_key, multihash_of
from tests.support.generated import examples

# SHA-256 of nothing, as `printf '' | sha256sum` prints it, and as CIDs of both versions (CID specification).
OF_NOTHING = bytes.fromhex("1220e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
VERSION_0 = "QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n"
VERSION_1 = "bafybeihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"


def test_the_key_of_content_is_its_sha256():
    assert content_key(b"") == OF_NOTHING
    assert multihash_of(content_key(b"something")) == content_key(b"something")


@pytest.mark.parametrize(
    "name",
    [
        VERSION_0,
        VERSION_1,
        VERSION_1.upper(),
        cid.make_cid(VERSION_0),
        cid.make_cid(VERSION_1),
        OF_NOTHING,
        OF_NOTHING.hex(),
        OF_NOTHING.hex().upper(),
        "f0155" + OF_NOTHING.hex(),
        multibase.encode("base58btc", b"\x01\x55" + OF_NOTHING).decode(),
        # A codec that no table has yet.
        multibase.encode("base32", b"\x01\xff\xff\x7f" + OF_NOTHING).decode(),
    ],
    ids=str,
)
def test_all_names_of_one_content_have_one_key(name):
    assert multihash_of(name) == OF_NOTHING


@pytest.mark.parametrize("code", ["sha2-512", "blake2b-256", "sha3-384", "sha1"])
def test_other_hashes_are_keys_too(code):
    digest = bytes(range(20))
    key = multihash.encode(digest, code)
    assert multihash_of(key) == key
    assert multihash_of(key.hex()) == key


def test_a_peer_id_is_the_multihash_of_a_key():
    peer = PeerId(b"\x12\x20" + bytes(32))
    assert multihash_of(peer) == peer
    assert type(multihash_of(peer)) is bytes


@pytest.mark.scenario("P8")
@pytest.mark.parametrize(
    "name",
    [
        b"",
        b"some content",
        OF_NOTHING[:-1],
        OF_NOTHING + b"x",
        b"\x12\x00",
        b"\x92\x00\x20" + bytes(32),  # SHA-256, its code not minimal
        b"\x01\x55" + OF_NOTHING,  # a CID in binary is no multihash
        b"\x05\x01x",  # a code that is free for private use
        b"\x00" + bytes([MAX_PROVIDER_KEY - 1]) + bytes(MAX_PROVIDER_KEY - 1),
        "",
        "some content",
        VERSION_0[:-1],
        VERSION_0 + "1",
        "Qm0OIl",
        VERSION_1[:-3],
        OF_NOTHING.hex()[:-2],
        "/ipfs/" + VERSION_0,
        multibase.encode("base32", b"\x02\x55" + OF_NOTHING).decode(),
        base58.b58encode(VERSION_0).decode(),
        "z" * 10_000_000,
        7,
        None,
        bytearray(OF_NOTHING),
        [OF_NOTHING],
    ],
    ids=lambda name: repr(name)[:40],
)
def test_what_names_no_content_is_refused_with_what_would(name):
    with pytest.raises(LocalProtocolError, match="neither a CID nor a multihash, which as text is in hex"):
        multihash_of(name)


@given(st.binary(max_size=90) | st.text(max_size=60) | st.from_regex(r"[bfzmukFBQ][a-zA-Z0-9]{0,60}", fullmatch=True))
@settings(max_examples=examples(500))
def test_any_name_is_a_key_or_refused(name):
    try:
        key = multihash_of(name)
    except LocalProtocolError:
        return
    assert multihash_of(key) == key
    assert multihash.decode(key).digest
