package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"slices"

	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/libp2p/go-libp2p"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p-kad-dht/amino"
	"github.com/libp2p/go-libp2p-kad-dht/records"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// node is a host with a DHT on it.
//
// The DHT runs in ModeAuto, because that is the mode that can be changed while
// it runs: reachability is pinned on the host, and setMode announces another
// one the way AutoNAT would.
type node struct {
	host         host.Host
	dht          *dht.IpfsDHT
	protocol     protocol.ID
	reachability event.Emitter
	frames       *recorder           // nil unless asked for
	neighbours   io.Closer           // nil unless asked for
	values       *records.ValueStore // a second view of the datastore that the DHT writes
}

// newNode returns a running node. On an error nothing of it is left behind.
func newNode(c config) (_ *node, err error) {
	n := &node{protocol: protocol.ID(c.protocol)}
	defer func() {
		if err != nil {
			n.close()
		}
	}()
	if n.host, err = newHost(c); err != nil {
		return nil, err
	}
	if n.reachability, err = n.host.EventBus().Emitter(new(event.EvtLocalReachabilityChanged)); err != nil {
		return nil, err
	}
	carrier := n.host
	if c.record {
		n.frames = &recorder{}
		carrier = recordingHost{Host: n.host, recorder: n.frames}
	}
	store := dssync.MutexWrap(datastore.NewMapDatastore())
	n.values = records.NewValueStore(store, c.validators, amino.DefaultMaxRecordAge)
	if n.dht, err = dht.New(carrier, dhtOptions(c, store)...); err != nil {
		return nil, err
	}
	if c.mdns {
		n.neighbours, err = meetNeighbours(n.host)
	}
	return n, err
}

func newHost(c config) (host.Host, error) {
	var randomness io.Reader = rand.Reader
	if c.seed != "" {
		randomness = seeded(c.seed)
	}
	key, _, err := crypto.GenerateEd25519Key(randomness)
	if err != nil {
		return nil, fmt.Errorf("generating the key: %w", err)
	}
	// Without this AutoNAT would find loopback unreachable and turn the DHT client.
	reachability := libp2p.ForceReachabilityPublic()
	if c.mode == modeClient {
		reachability = libp2p.ForceReachabilityPrivate()
	}
	return libp2p.New(
		libp2p.Identity(key),
		libp2p.ListenAddrStrings(c.listen...),
		libp2p.DisableRelay(),
		reachability,
	)
}

func dhtOptions(c config, store datastore.Batching) []dht.Option {
	mode := dht.ModeAutoServer
	if c.mode == modeClient {
		mode = dht.ModeAuto
	}
	options := []dht.Option{
		dht.Mode(mode),
		// The override takes any id as it is. The empty prefix keeps Amino's own
		// rules (k = 20, pk and ipns only) away from a test of Amino's protocol id.
		dht.ProtocolPrefix(""),
		dht.V1ProtocolOverride(protocol.ID(c.protocol)),
		dht.Validator(c.validators),
		dht.Datastore(store),
		dht.BucketSize(c.bucketSize),
		dht.Concurrency(c.alpha),
		dht.Resiliency(c.beta),
		dht.BootstrapPeers(c.bootstrap...),
		// No filters of addresses or peers: test networks live on loopback.
	}
	if !c.refresh {
		options = append(options, dht.DisableAutoRefresh())
	}
	return options
}

// close ends the DHT and its host, as far as there are any.
func (n *node) close() {
	if n.neighbours != nil {
		_ = n.neighbours.Close()
	}
	if n.dht != nil {
		_ = n.dht.Close()
	}
	if n.reachability != nil {
		_ = n.reachability.Close()
	}
	if n.host != nil {
		_ = n.host.Close()
	}
}

// mode is what other peers learn from identify: a server lists the protocol.
func (n *node) mode() string {
	if slices.Contains(n.host.Mux().Protocols(), n.protocol) {
		return modeServer
	}
	return modeClient
}

// setMode turns the DHT server or client and returns once it is one.
func (n *node) setMode(ctx context.Context, mode string) error {
	reachability := network.ReachabilityPublic
	switch mode {
	case modeServer:
	case modeClient:
		reachability = network.ReachabilityPrivate
	default:
		return fmt.Errorf("%w: mode %q: server or client", errUsage, mode)
	}
	changes, err := n.host.EventBus().Subscribe(new(event.EvtLocalProtocolsUpdated))
	if err != nil {
		return err
	}
	defer changes.Close()
	if err := n.reachability.Emit(event.EvtLocalReachabilityChanged{Reachability: reachability}); err != nil {
		return err
	}
	for n.mode() != mode {
		select {
		case <-changes.Out():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// addresses are where the node listens, each ending in its peer id.
func (n *node) addresses() ([]string, error) {
	addrs, err := peer.AddrInfoToP2pAddrs(host.InfoFromHost(n.host))
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(addrs))
	for i, addr := range addrs {
		texts[i] = addr.String()
	}
	return texts, nil
}
