"""Keys, key files, signatures and the text of peer ids; with keys that go-libp2p made."""

import json
import logging
import multiprocessing
import re
import stat
import subprocess
import sys
import typing
from pathlib import Path

import libp2p.crypto.rsa
import libp2p.crypto.secp256k1
import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from libp2p.crypto.serialization import deserialize_public_key
from libp2p.peer.id import ID

from p2pkad.config import Config, HostConfig
from p2pkad.core.peers import PeerId
from p2pkad.errors import ConfigError, LocalProtocolError, RemoteProtocolError
from p2pkad.identity import Identity, PublicKey, peer_id
from tests.support.generated import examples
from tests.support.records import with_one_byte_changed

GO_KEYS = json.loads((Path(__file__).parent / "validators" / "golden" / "go_keys.json").read_text())["keys"]
HOST_KEYS = [key for key in GO_KEYS if not key["kind"].startswith("ECDSA")]

each_go_key = pytest.mark.parametrize("key", GO_KEYS, ids=lambda key: key["kind"])
each_host_key = pytest.mark.parametrize("key", HOST_KEYS, ids=lambda key: key["kind"])


def go(kind: str, part: str) -> bytes:
    return next(bytes.fromhex(key[part]) for key in GO_KEYS if key["kind"] == kind)


def marshalled(kind: int, data: bytes) -> bytes:
    size = len(data)
    return bytes((0x08, kind, 0x12, *((size,) if size < 0x80 else (size & 0x7F | 0x80, size >> 7)))) + data


def der(key) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class TestPublicKey:
    @each_go_key
    def test_reads_what_go_marshals(self, key):
        public = PublicKey.from_protobuf(bytes.fromhex(key["public"]))
        assert str(public.id) == key["id"]
        assert public.to_protobuf().hex() == key["public"]

    @each_go_key
    def test_verifies_what_go_signed_and_nothing_else(self, key):
        public = PublicKey.from_protobuf(bytes.fromhex(key["public"]))
        data, signature = bytes.fromhex(key["data"]), bytes.fromhex(key["signature"])
        assert public.verify(data, signature)
        assert not public.verify(data + b"!", signature)
        assert not public.verify(data, bytes((signature[0] ^ 1,)) + signature[1:])
        assert not public.verify(data, signature[:-1])
        assert not public.verify(data, b"")

    @each_host_key
    def test_has_the_id_that_libp2p_gives_it(self, key):
        encoded = bytes.fromhex(key["public"])
        assert PublicKey.from_protobuf(encoded).id == ID.from_pubkey(deserialize_public_key(encoded)).to_bytes()

    def test_is_equal_by_its_bytes_and_prints_the_end_of_its_id(self):
        one, same, other = (PublicKey.from_protobuf(go(kind, "public")) for kind in ("RSA", "RSA", "ECDSA"))
        assert one == same
        assert hash(one) == hash(same)
        assert one != other
        assert repr(one) == f"<public key of {str(one.id)[-6:]}>"

    @each_go_key
    @given(signature=st.binary(max_size=200))
    @settings(max_examples=examples(50))
    def test_takes_any_bytes_for_a_signature(self, key, signature):
        assert not PublicKey.from_protobuf(bytes.fromhex(key["public"])).verify(b"data", signature)

    @given(encoded=st.binary(max_size=200) | st.binary(max_size=100).map(lambda data: b"\x08\x01\x12\x20" + data))
    def test_reads_any_bytes_or_says_that_they_are_no_key(self, encoded):
        try:
            key = PublicKey.from_protobuf(encoded)
        except RemoteProtocolError:
            return
        assert key.to_protobuf() == encoded

    @given(data=st.data())
    @settings(max_examples=examples(300))
    def test_one_changed_byte_is_another_key_or_none(self, data):
        encoded = bytes.fromhex(data.draw(st.sampled_from(GO_KEYS))["public"])
        before = PublicKey.from_protobuf(encoded)
        changed = data.draw(with_one_byte_changed(encoded))
        try:
            after = PublicKey.from_protobuf(changed)
        except RemoteProtocolError:
            return
        assert after.id != before.id

    @each_go_key
    def test_refuses_a_second_encoding_of_the_same_key(self, key):
        encoded = bytes.fromhex(key["public"])
        tag, data = encoded[:2], encoded[2:]
        for other in (
            encoded + b"\x18\x00",  # an unknown field
            data + tag,  # the fields the other way round
            b"\x08" + bytes((encoded[1] | 0x80, 0)) + data,  # a kind of two bytes
            encoded + data,  # the key twice
        ):
            with pytest.raises(RemoteProtocolError):
                PublicKey.from_protobuf(other)

    def test_refuses_a_secp256k1_point_that_is_not_compressed(self):
        point = PublicKey.from_protobuf(go("Secp256k1", "public"))._key
        long = point.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        with pytest.raises(RemoteProtocolError, match="canonical"):
            PublicKey.from_protobuf(marshalled(2, long))

    @pytest.mark.parametrize(
        "new_key",
        [
            lambda: rsa.generate_private_key(65537, 1024),
            lambda: ec.generate_private_key(ec.BrainpoolP256R1()),
            lambda: dsa.generate_private_key(1024),
        ],
        ids=["short RSA", "a curve that go does not know", "DSA"],
    )
    def test_refuses_keys_that_libp2p_does_not_use(self, new_key):
        with pytest.raises(RemoteProtocolError, match="not one that libp2p uses"):
            PublicKey.from_protobuf(marshalled(3, der(new_key().public_key())))

    def test_refuses_a_huge_exponent(self):
        numbers = PublicKey.from_protobuf(go("RSA", "public"))._key.public_numbers()
        slow = rsa.RSAPublicNumbers(2**31 + 11, numbers.n).public_key()
        with pytest.raises(RemoteProtocolError, match="exponent"):
            PublicKey.from_protobuf(marshalled(0, der(slow)))

    def test_refuses_what_is_too_long_before_it_reads_it(self):
        with pytest.raises(RemoteProtocolError, match="4194304 bytes"):
            PublicKey.from_protobuf(bytes(4 << 20))

    def test_refuses_a_key_under_another_kind(self):
        with pytest.raises(RemoteProtocolError, match="canonical"):
            PublicKey.from_protobuf(b"\x08\x00" + go("ECDSA", "public")[2:])

    def test_names_an_unknown_kind(self):
        with pytest.raises(RemoteProtocolError, match="unknown kind 04"):
            PublicKey.from_protobuf(b"\x08\x04\x12\x01x")


class TestIdentity:
    def test_signs_what_its_public_key_verifies(self):
        identity = Identity.generate()
        assert identity.public_key.verify(b"data", identity.sign(b"data"))
        assert identity.id == identity.public_key.id
        assert identity.id == ID.from_pubkey(identity.key_pair.public_key).to_bytes()

    def test_is_new_each_time(self):
        assert Identity.generate().id != Identity.generate().id

    @pytest.mark.parametrize(
        "new_key_pair",
        [libp2p.crypto.secp256k1.create_new_key_pair, lambda: libp2p.crypto.rsa.create_new_key_pair(2048)],
        ids=["Secp256k1", "RSA"],
    )
    def test_takes_other_key_pairs_of_libp2p(self, new_key_pair):
        identity = Identity(new_key_pair())
        assert identity.public_key.verify(b"data", identity.sign(b"data"))

    def test_never_shows_its_private_key(self):
        identity = Identity.generate()
        private = identity.key_pair.private_key.to_bytes()
        for shown in (repr(identity), str(identity), repr(HostConfig(identity=identity)), f"{identity.public_key}"):
            assert private.hex() not in shown
            assert repr(private) not in shown
        assert repr(identity) == f"<identity {str(identity.id)[-6:]}>"
        assert not hasattr(identity, "__dict__")


class TestKeyFile:
    def test_is_made_once_and_keeps_the_id(self, tmp_path):
        path = tmp_path / "state" / "identity.key"
        first = Identity.load_or_create(path)
        assert Identity.load_or_create(path).id == first.id
        assert Identity.load(str(path)).id == first.id

    def test_is_for_its_owner_alone(self, tmp_path):
        path = tmp_path / "state" / "identity.key"
        Identity.load_or_create(path)
        assert mode(path) == 0o600
        assert mode(path.parent) == 0o700

    def test_leaves_nothing_else_behind(self, tmp_path):
        Identity.load_or_create(tmp_path / "identity.key")
        assert [path.name for path in tmp_path.iterdir()] == ["identity.key"]

    def test_has_both_halves_of_the_key_as_go_wants_them(self, tmp_path):
        identity = Identity.load_or_create(tmp_path / "identity.key")
        content = (tmp_path / "identity.key").read_bytes()
        assert content[:4] == go("Ed25519", "private")[:4]
        assert len(content) == len(go("Ed25519", "private"))
        assert content[4:36] == identity.key_pair.private_key.to_bytes()
        assert content[36:] == identity.public_key.to_protobuf()[4:]

    def test_is_saved_once_and_replaces_nothing(self, tmp_path):
        path, identity = tmp_path / "state" / "identity.key", Identity.generate()
        identity.save(path)
        assert (mode(path), Identity.load(path).id) == (0o600, identity.id)
        with pytest.raises(ConfigError, match="another identity"):
            Identity.generate().save(path)
        assert Identity.load(path).id == identity.id

    @each_host_key
    def test_of_every_kind_is_saved_as_it_was_loaded(self, key, tmp_path):
        (tmp_path / "from").write_bytes(bytes.fromhex(key["private"]))
        Identity.load(tmp_path / "from").save(tmp_path / "to")
        assert str(Identity.load(tmp_path / "to").id) == key["id"]

    @each_host_key
    def test_may_come_from_go(self, key, tmp_path):
        path = tmp_path / "identity.key"
        path.write_bytes(bytes.fromhex(key["private"]))
        identity = Identity.load(path)
        assert str(identity.id) == key["id"]
        assert PublicKey.from_protobuf(bytes.fromhex(key["public"])).verify(b"data", identity.sign(b"data"))

    def test_may_come_from_an_old_go(self, tmp_path):
        private, public = go("Ed25519", "private")[4:], go("Ed25519", "private")[36:]
        (tmp_path / "identity.key").write_bytes(marshalled(1, private + public))
        assert Identity.load(tmp_path / "identity.key").public_key.to_protobuf() == go("Ed25519", "public")

    @pytest.mark.scenario("H7")
    @pytest.mark.parametrize(
        ("content", "says"),
        [
            (b"", "is empty"),
            (b"-----BEGIN PRIVATE KEY-----\n", "libp2p's format"),
            (go("Ed25519", "private")[:-1], "libp2p's format"),
            (go("Ed25519", "private")[:-1] + b"?", "public half"),
            (go("Ed25519", "public"), "public half"),
            (go("ECDSA", "private"), "libp2p's format"),
            (b"\x00" * (1 << 20), "libp2p's format"),
        ],
        ids=["empty", "PEM", "cut short", "one byte wrong", "a public key", "ECDSA", "another file"],
    )
    def test_that_is_bad_is_named_and_left_alone(self, content, says, tmp_path):
        path = tmp_path / "identity.key"
        path.write_bytes(content)
        for read in (Identity.load, Identity.load_or_create):
            with pytest.raises(ConfigError, match=says) as raised:
                read(path)
            assert str(path) in str(raised.value)
            assert "get a new identity" in str(raised.value)
        assert path.read_bytes() == content
        assert [found.name for found in tmp_path.iterdir()] == ["identity.key"]

    @pytest.mark.scenario("H7")
    def test_that_is_missing_is_made_only_when_asked(self, tmp_path):
        with pytest.raises(ConfigError, match=r"identity\.key: there is no key file"):
            Identity.load(tmp_path / "identity.key")
        assert not list(tmp_path.iterdir())

    @pytest.mark.scenario("H7")
    def test_that_is_a_directory_or_under_a_file_cannot_be_read_or_made(self, tmp_path):
        file = tmp_path / "file"
        file.write_bytes(b"")
        whys = {tmp_path: f"{tmp_path}: cannot read the key file", file / "identity.key": f"{file}: not a directory"}
        for path, why in whys.items():
            with pytest.raises(ConfigError, match=re.escape(why)):
                Identity.load_or_create(path)

    @pytest.mark.scenario("H7")
    def test_that_cannot_be_made_is_an_error_and_leaves_nothing(self, tmp_path, monkeypatch):
        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(ConfigError, match=r"identity\.key: cannot create the key file \(No space left on device\)"):
            Identity.load_or_create(tmp_path / "identity.key")
        assert not list(tmp_path.iterdir())

    def test_behind_a_dangling_link_is_missing_and_not_made_elsewhere(self, tmp_path):
        (tmp_path / "identity.key").symlink_to(tmp_path / "nowhere")
        with pytest.raises(ConfigError, match="no key file"):
            Identity.load_or_create(tmp_path / "identity.key")
        assert not (tmp_path / "nowhere").exists()

    def test_that_appears_meanwhile_wins(self, tmp_path, monkeypatch):
        path, others = tmp_path / "identity.key", go("Ed25519", "private")
        generate = Identity.generate

        def generate_slowly() -> Identity:
            path.write_bytes(others)
            return generate()

        monkeypatch.setattr(Identity, "generate", generate_slowly)
        assert Identity.load_or_create(path).public_key.to_protobuf() == go("Ed25519", "public")
        assert path.read_bytes() == others

    @pytest.mark.scenario("H7")
    def test_is_one_for_processes_that_start_at_once(self, tmp_path):
        processes = multiprocessing.get_context("fork")
        together, answers = processes.Barrier(4), processes.Queue()

        def start() -> None:
            together.wait(30)
            answers.put(bytes(Identity.load_or_create(tmp_path / "state" / "identity.key").id))

        children = [processes.Process(target=start, daemon=True) for _ in range(4)]
        for child in children:
            child.start()
        ids = {answers.get(timeout=30) for _ in children}
        for child in children:
            child.join(30)
        assert ids == {bytes(Identity.load(tmp_path / "state" / "identity.key").id)}

    def test_that_others_can_read_is_reported_and_used(self, tmp_path, caplog):
        path = tmp_path / "identity.key"
        Identity.load_or_create(path)
        with caplog.at_level(logging.WARNING, "p2pkad.identity"):
            Identity.load(path)
            assert not caplog.records
            path.chmod(0o640)
            Identity.load(path)
        (record,) = caplog.records
        assert f"{path}: others can read or replace this key file (mode 640)" in record.getMessage()

    def test_what_is_no_key_is_not_said_to_need_other_rights(self, tmp_path, caplog):
        path = tmp_path / "letter"
        path.write_text("to somebody")
        path.chmod(0o644)
        with pytest.raises(ConfigError, match="no private key"):
            Identity.load(path)
        assert not caplog.records


class TestPeerId:
    @pytest.mark.parametrize("value", [None, 5, 1.5, ["12D3Koo"]])
    def test_is_not_made_of_anything(self, value):
        with pytest.raises(LocalProtocolError, match="is no peer id; give it as text"):
            peer_id(value)

    @each_go_key
    def test_is_read_in_every_form(self, key):
        expected = PublicKey.from_protobuf(bytes.fromhex(key["public"])).id
        for form in (key["id"], key["cid_base32"], key["cid_base36"], bytes(expected), expected, ID(bytes(expected))):
            assert peer_id(form) == expected
            assert isinstance(peer_id(form), PeerId)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "1",
            "hello",
            "Qm",
            "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5",
            "12D3KooWNnADjc1rAgaRZm3qCCh842sRwJPoWvgCDZG2EfSNR1p0",
            "/ip4/127.0.0.1/tcp/4001/p2p/12D3KooWNnADjc1rAgaRZm3qCCh842sRwJPoWvgCDZG2EfSNR1pK",
            "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi",
            "bafzaabib",
            "k",
            "ü",
        ],
    )
    def test_names_the_text_that_is_none(self, text):
        with pytest.raises(LocalProtocolError, match="no peer id; expected base58") as raised:
            peer_id(text)
        assert repr(text) in str(raised.value)

    def test_shortens_a_long_text(self):
        with pytest.raises(LocalProtocolError) as raised:
            peer_id("1" * 1_000_000)
        assert len(str(raised.value)) < 300

    @pytest.mark.parametrize("raw", [b"", b"\x00", b"\x00\x00", b"\x12\x20", b"\x00\x03ab", b"\x12\x20" + bytes(33)])
    def test_names_the_bytes_that_are_none(self, raw):
        with pytest.raises(LocalProtocolError, match=f"hex:{raw.hex()}: no peer id"):
            peer_id(raw)

    def test_inlines_keys_of_up_to_42_bytes(self):
        assert PeerId.valid(b"\x00\x2a" + bytes(42))
        assert not PeerId.valid(b"\x00\x2b" + bytes(43))

    @given(text=st.text() | st.text("123456789ABCDEFabcdefkzQmü/=", max_size=140) | st.text(max_size=60).map("1".__add__))
    @settings(max_examples=examples(500))
    def test_reads_any_text_or_says_that_it_is_none(self, text):
        try:
            found = peer_id(text)
        except LocalProtocolError:
            return
        assert PeerId.valid(found)


class TestImports:
    def test_config_does_not_import_libp2p(self):
        program = "import sys, p2pkad.config; print('libp2p' in sys.modules, 'trio' in sys.modules)"
        answer = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
        assert answer.stdout.split() == ["False", "False"]

    def test_the_types_of_the_options_can_be_resolved(self):
        assert typing.get_type_hints(Config)["identity"] == Identity | None
