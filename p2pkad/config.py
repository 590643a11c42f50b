"""Every option of a node: its meaning, its unit, its default and its range, once.

`HostConfig` is what the host needs (keys, addresses, connections), `KademliaConfig` what the service on top of it needs;
`Config` is both, what `open_node` takes. The sentence under a field is its documentation; `--help` shows it.
A config is checked when it is made: a value that cannot work raises ConfigError and says what would.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from inspect import iscoroutinefunction
from os import PathLike, fspath
from sys import float_info
from typing import Any, Literal, Self
from unicodedata import category

from p2pkad.errors import ConfigError
from p2pkad.identity import Identity
from p2pkad.validators.base import Validator

Mode = Literal["server", "client"]
DialTransport = Literal["tcp", "quic", "ws"]
ScopeRule = Literal["auto", "wan", "lan", "all"]
Durability = Literal["normal", "full"]

HOUR = 3600.0
KIB = 1024
MIB = 1024 * KIB
LONGEST_TTL = 2**32 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreBounds:
    """How much a store may hold; `KademliaConfig.store_bounds` are those of a node.

    max_records, max_provider_keys: how many keys of each kind. max_providers_per_key: how many providers of one. max_bytes:
    about the memory that all of it takes.
    """

    max_records: int
    max_provider_keys: int
    max_providers_per_key: int
    max_bytes: int


@dataclass(frozen=True, kw_only=True)
class HostConfig:
    """Keys, addresses and connections."""

    listen: tuple[str, ...] = ("/ip4/0.0.0.0/tcp/4001",)
    """Addresses to listen on: /ip4/ADDRESS/tcp/PORT, the same with /ws behind it, /ip4/ADDRESS/udp/PORT/quic-v1; also
    ip6. Port 0 takes a free one; none at all makes a node that only dials."""
    announce: tuple[str, ...] = ()
    """Addresses to tell peers instead of those listened on (behind a port forwarding, say)."""
    data_dir: str | None = None
    """Directory of the key and of all that a node keeps: records, providers, what it publishes and provides, its routing table.
    None (typed: "") keeps nothing: the id is new each time."""
    identity: Identity | None = field(default=None, repr=False)
    """The key pair to use; None takes the one in `data_dir`, or a new one."""
    security: tuple[Literal["noise", "tls"], ...] = ("noise", "tls")
    """Security transports, preferred first."""
    dial_transports: tuple[DialTransport, ...] = ("tcp", "quic", "ws")
    """Transports that are dialled, preferred first; one or more. Listening is up to `listen`."""
    mdns: bool = False
    """Announce this host on the networks where it listens, and find others there, by multicast DNS. As go, rust and js."""
    dial_timeout: float = 5.0
    """Seconds for one address, handshakes included; above 0. go and rust take 5 to 10."""
    max_connections: int = 300
    """Connections at most, both directions together; 4 or more."""
    connection_reserve: int = 16
    """Of these, how many are kept free for dialling, where all others are in use no more than a quarter; below
    `max_connections`. Idle and least useful connections go first."""
    max_connections_per_prefix: int = 32
    """Inbound connections at most from one public /24 (IPv4) or /48 (IPv6); 1 or more. Further ones are closed before a
    handshake. A tenth of `max_connections`; go has 8 of one IPv4 address or IPv6 /56, and 64 of a /48."""
    max_streams_per_peer: int = 64
    """Inbound streams that one peer may hold open; 1 or more. Beyond it its new streams are reset."""
    max_inbound_streams: int = 2048
    """Inbound streams of one protocol, all peers together; 1 or more. Beyond it one of the peer that has the most is reset.
    go has 2,048 with 6 GiB."""
    max_arriving_bytes: int = 64 * MIB
    """Bytes that have arrived of requests over 64 KiB that are not answered yet, of one protocol, all peers together, and as
    many of such replies that are not whole; 1 MiB or more. Beyond it the largest of the peer that has the most is reset."""
    idle_stream_timeout: float = 60.0
    """Seconds without a request after which an inbound stream is reset; above 0. As go."""
    close_timeout: float = 3.0
    """Seconds that closing may take before it is cut short; above 0."""

    def __post_init__(self) -> None:
        self.validate()

    def validate(self) -> None:
        """Raises ConfigError for the first value out of its range."""
        _positive(self, "dial_timeout", "idle_stream_timeout", "close_timeout")
        _at_least(self, 4, "max_connections")
        _at_least(self, 1, "max_connections_per_prefix", "max_streams_per_peer", "max_inbound_streams")
        _at_least(self, MIB, "max_arriving_bytes")
        _at_least(self, 0, "connection_reserve")
        if self.connection_reserve >= self.max_connections:
            raise _unfit(self, "connection_reserve", f"must be below max_connections={self.max_connections}", "max_connections")
        _texts(self, "listen", "announce", "security", "dial_transports")
        if not self.security or not set(self.security) <= {"noise", "tls"}:
            raise _unfit(self, "security", "name one or both of 'noise' and 'tls'")
        if not self.dial_transports or not set(self.dial_transports) <= {"tcp", "quic", "ws"}:
            raise _unfit(self, "dial_transports", "name one or more of 'tcp', 'quic' and 'ws'")
        if not isinstance(self.identity, Identity | None):
            # Only its type is shown: what was given may be a private key.
            given = type(self.identity).__name__
            raise ConfigError(f"identity: a {given} is none; give Identity.load(path) or Identity(key_pair)")
        _yes_or_no(self, "mdns")
        directory = fspath(self.data_dir) if isinstance(self.data_dir, PathLike) else self.data_dir
        if directory is not None and (not isinstance(directory, str) or "\0" in directory or not directory):
            raise _unfit(self, "data_dir", "give the path of a directory as text, or None")


@dataclass(frozen=True, kw_only=True)
class KademliaConfig:
    """One Kademlia network: its name, its size, its patience."""

    protocol: str = "/p2pkad/kad/1.0.0"
    """The protocol id, used verbatim: nodes with another one are another network."""
    mode: Mode = "server"
    """server: answers requests and enters other nodes' routing tables. client: only asks."""
    bootstrap: tuple[str, ...] = ()
    """Peers to begin with: multiaddrs that end in /p2p/<peer id>."""
    validators: Mapping[str, Validator] = field(default_factory=dict)
    """Validators by namespace, without slashes. `pk` is there unless it is replaced."""
    default_validator: Validator | None = None
    """For keys without a registered namespace; None refuses them."""
    scope: ScopeRule = "auto"
    """Addresses told and believed. auto: those as wide as the connection or wider; wan: public; lan: not loopback; all."""
    allow_zero_peers: bool = False
    """Let a put or provide that finds nobody to ask stay local, and say so, instead of raising."""

    bucket_size: int = 20
    """Peers in one bucket of the routing table; 1 or more."""
    k: int = 20
    """Replication: how many closest peers a lookup finds and a record is stored on; 1 or more. As all implementations."""
    alpha: int = 10
    """Requests of one lookup in flight; 1 or more. As go; rust has 3."""
    beta: int = 3
    """Nearest candidates that must have answered before the rest of the k are asked; 1 or more, above k means k.
    As go; rust waits for k."""
    disjoint_paths: int = 1
    """Ways of a lookup that share no peer: a liar leads one of them astray, and what the others find counts; 1 or more.
    They share `alpha`, each has one slot at least. As go; js has 10."""
    max_peers_per_group: int = 3
    """Peers in the routing table that share a public /16 (IPv4) or /32 (IPv6); 1 or more. As go."""
    max_peers_per_group_and_bucket: int = 2
    """The same within one bucket; 1 or more. As go."""

    request_timeout: float = 10.0
    """Seconds for one request, dial included; above 0. As go and rust."""
    late_after: float = 2.0
    """Seconds after which a silent peer gives its slot in a lookup to the next, its answer still counts; above 0. At most:
    where answers are known to be quicker, a silent peer is late sooner."""
    lookup_timeout: float = 60.0
    """Seconds for one lookup; above 0. As rust."""
    put_timeout: float = 60.0
    """Seconds for a put or a provide, the lookup included; above 0."""

    record_lifetime: float = 48 * HOUR
    """Seconds a record is kept after it was received; above 0, and as many as a ttl holds, 4294967295, at most. As all
    implementations."""
    provider_lifetime: float = 48 * HOUR
    """Seconds a provider record is kept after it was received; above 0. kad-dht r2."""
    provider_address_lifetime: float = 24 * HOUR
    """Seconds for which the addresses in a provider record are told; above 0. As go."""
    republish_interval: float = 22 * HOUR
    """Seconds after which a node puts its own records again; above 0, below `record_lifetime`. As for provider records."""
    reprovide_interval: float = 22 * HOUR
    """Seconds after which a node announces again what it provides; above 0, below `provider_lifetime`. kad-dht r2 and go."""
    address_lifetime: float = 1 * HOUR
    """Seconds for which the addresses of a peer that was heard of are remembered; above 0."""
    refresh_interval: float = 600.0
    """Seconds between two looks into a bucket of the routing table, give or take a fifth; above 0. As go."""
    expire_interval: float = 300.0
    """Seconds between sweeps of what has expired; above 0. What has expired is never served, swept or not."""
    bootstrap_interval: float = 30.0
    """Seconds between attempts to reach bootstrap peers while the routing table is empty or nearly so; above 0."""
    bootstrap_pause: float = 5.0
    """Seconds after an attempt to which no bootstrap peer answered; twice as many after each further one, up to
    `bootstrap_interval`; above 0."""
    bootstrap_attempts: int = 0
    """Such attempts in a row after which the node makes no more by itself; 0 or more, 0 never gives up."""

    max_message: int = 4 * MIB
    """Bytes of the largest message accepted; 1 KiB or more. As go and js."""
    max_reply: int = 16 * KIB
    """Bytes of the largest reply sent; 1 KiB or more. rust decodes no more."""
    max_records: int = 100_000
    """Records kept; 1 or more."""
    max_provider_keys: int = 100_000
    """Keys with providers kept; 1 or more."""
    max_providers_per_key: int = 200
    """Providers kept for one key; 1 or more. A reply of 16 KiB carries about as many."""
    max_store_bytes: int = 256 * MIB
    """Bytes of keys, values and addresses kept, in memory also where `data_dir` is set; 1 MiB or more."""
    durability: Durability = "normal"
    """What survives in `data_dir`. normal: what was acknowledged outlives the process, however it ends; a loss of power may
    take the last moments with it. full: it outlives that too, and each write waits for the disk."""

    max_lookups: int = 64
    """Lookups of the node's own at a time; 1 or more. Further ones wait in turn, within their time. With the usual `alpha`
    they have 640 requests under way."""
    max_requests_in_flight: int = 2048
    """Requests to peers under way, all together; 1 or more. Further ones wait in turn, within their time. go has 2,048
    outbound streams of a protocol."""
    max_requests_per_peer: int = 2000
    """Requests that one peer has answered at once; 1 or more. Then `request_rate_per_peer` holds. A peer that puts 1,000
    records in a small network asks each node so much; go's checks before a lookup are 256."""
    request_rate_per_peer: float = 200.0
    """Requests a second that one peer has answered in the long run; above 0. Further ones are answered later, those that would
    have to wait for more than a second are reset. A tenth of what one processor answers."""
    max_stored_per_peer: int = 20_000
    """New records and provider records that one peer may have stored here at once; 1 or more. What is here already costs
    nothing. A fifth of `max_records`."""
    max_stored_bytes_per_peer: int = 64 * MIB
    """Bytes of these, and by which records grow; 1 KiB or more. A quarter of `max_store_bytes`."""
    stored_refill: float = 6 * HOUR
    """Seconds after which all of both is there again for a peer that used it up; above 0. Below `reprovide_interval`, so that
    who provided as much as it may can do so again in time."""
    max_updates_per_key: int = 60
    """Changes of the record under one key that are taken at once; 1 or more. The same value again is none."""
    max_updates_per_publisher: int = 1200
    """Changes of records that are taken of one publisher at once; 1 or more: of the peer that sends them, and of the publisher
    that they name where that is another."""
    update_refill: float = 60.0
    """Seconds after which all of both is there again; above 0. One change a second of a key: presence is told every
    30 to 60."""

    def __post_init__(self) -> None:
        self.validate()

    def validate(self) -> None:
        """Raises ConfigError for the first value out of its range."""
        protocol = self.protocol
        if not isinstance(protocol, str) or not protocol.startswith("/") or not 2 <= len(protocol) <= 128:
            raise _unfit(
                self, "protocol", "a protocol id begins with a slash, and has 128 characters at most, as /p2pkad/kad/1.0.0"
            )
        if not _sendable(protocol):
            raise _unfit(self, "protocol", "a protocol id is text without control characters, which goes out as UTF-8")
        _one_of(self, "mode", ("server", "client"))
        _one_of(self, "scope", ("auto", "wan", "lan", "all"))
        _one_of(self, "durability", ("normal", "full"))
        _texts(self, "bootstrap")
        _yes_or_no(self, "allow_zero_peers")
        _at_least(
            self,
            1,
            "bucket_size",
            "k",
            "alpha",
            "beta",
            "disjoint_paths",
            "max_peers_per_group",
            "max_peers_per_group_and_bucket",
            "max_records",
            "max_provider_keys",
            "max_providers_per_key",
            "max_lookups",
            "max_requests_in_flight",
            "max_requests_per_peer",
            "max_stored_per_peer",
            "max_updates_per_key",
            "max_updates_per_publisher",
        )
        _at_least(self, KIB, "max_message", "max_reply", "max_stored_bytes_per_peer")
        _at_least(self, MIB, "max_store_bytes")
        _positive(
            self,
            "request_timeout",
            "late_after",
            "lookup_timeout",
            "put_timeout",
            "record_lifetime",
            "provider_lifetime",
            "provider_address_lifetime",
            "republish_interval",
            "reprovide_interval",
            "address_lifetime",
            "refresh_interval",
            "expire_interval",
            "bootstrap_interval",
            "request_rate_per_peer",
            "stored_refill",
            "update_refill",
            "bootstrap_pause",
        )
        _at_least(self, 0, "bootstrap_attempts")
        if self.record_lifetime > LONGEST_TTL:
            raise _unfit(self, "record_lifetime", f"must be {LONGEST_TTL} or less, the seconds that the ttl of a record holds")
        _below(self, "republish_interval", "record_lifetime")
        _below(self, "reprovide_interval", "provider_lifetime")
        if not isinstance(self.validators, Mapping):
            raise _unfit(self, "validators", "give a dictionary, of a validator for each namespace")
        for name, validator in self.validators.items():
            if not isinstance(name, str) or not name or "/" in name or not _sendable(name):
                why = "write its name, without slashes and control characters"
                raise ConfigError(f"validators: {name!r} is no namespace; {why}", "validators")
            _validating("validators", validator)
        if self.default_validator is not None:
            _validating("default_validator", self.default_validator)

    @property
    def store_bounds(self) -> StoreBounds:
        """What the store of a node with this configuration may hold."""
        return StoreBounds(
            max_records=self.max_records,
            max_provider_keys=self.max_provider_keys,
            max_providers_per_key=self.max_providers_per_key,
            max_bytes=self.max_store_bytes,
        )


@dataclass(frozen=True, kw_only=True)
class Config(HostConfig, KademliaConfig):
    """A host and a Kademlia service on it."""

    def validate(self) -> None:
        """Raises ConfigError for the first value out of its range."""
        HostConfig.validate(self)
        KademliaConfig.validate(self)

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """A config from options by name. Raises ConfigError for a name that does not exist, with the one that was meant."""
        known = [each.name for each in fields(cls)]
        for name in options:
            if name not in known:
                close = get_close_matches(name, known, n=1)
                raise ConfigError(f"unknown option {name!r}." + (f" Did you mean {close[0]!r}?" if close else ""))
        return cls(**options)


def _unfit(config: object, name: str, why: str, *others: str) -> ConfigError:
    return ConfigError(f"{name}={getattr(config, name)!r}: {why}", name, *others)


def _validating(option: str, validator: object) -> None:
    # A class has both methods, too.
    has_both = all(callable(getattr(validator, name, None)) for name in ("validate", "select"))
    if isinstance(validator, type) or not has_both:
        raise ConfigError(f"{option}: {validator!r} is no validator; give an object with validate and select", option)
    for name in ("validate", "select", "expires"):
        if iscoroutinefunction(getattr(validator, name, None)):
            # Nobody would await it, and what is never run refuses nothing.
            raise ConfigError(
                f"{option}: {name} of {validator!r} is async; it is called from the event loop, as a plain function", option
            )


def _positive(config: object, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise _unfit(config, name, "must be a number")
        # What is no number at all (nan) is neither above nor below anything.
        if not 0 < value <= float_info.max:
            raise _unfit(config, name, "must be above 0, and finite")


def _at_least(config: object, least: int, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        # 20.0 would do for comparing, and be no count where something is counted off. True is an int, and no number.
        if not isinstance(value, int) or isinstance(value, bool):
            raise _unfit(config, name, "must be a whole number")
        if value < least:
            raise _unfit(config, name, f"must be {least} or more")


def _below(config: object, name: str, bound: str) -> None:
    limit = getattr(config, bound)
    if getattr(config, name) >= limit:
        raise _unfit(config, name, f"must be below {bound}={limit!r}, or it is forgotten in between", bound)


def _one_of(config: object, name: str, choices: tuple[str, ...]) -> None:
    if getattr(config, name) not in choices:
        raise _unfit(config, name, f"must be one of {', '.join(choices)}")


def _texts(config: object, *names: str) -> None:
    # A text where several texts are expected would otherwise be read letter by letter.
    for name in names:
        value = getattr(config, name)
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise _unfit(config, name, "give a list, also for one")
        texts = tuple(value)
        if not all(isinstance(text, str) for text in texts):
            raise _unfit(config, name, "give a list of texts")
        object.__setattr__(config, name, texts)


def _sendable(text: str) -> bool:
    # Cc: a control character; Cs: half of a surrogate pair, of which there is no UTF-8.
    return not any(category(letter) in ("Cc", "Cs") for letter in text)


def _yes_or_no(config: object, *names: str) -> None:
    for name in names:
        if not isinstance(getattr(config, name), bool):
            raise _unfit(config, name, "must be True or False")
