package main

import (
	"context"
	"fmt"
	"time"

	"github.com/ipfs/go-cid"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/routing"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	"github.com/multiformats/go-multihash"
)

// verb does one thing and returns when it is done or ctx is.
type verb func(ctx context.Context, n *node, req *request) (fields, error)

// verbs are all that can be asked, "stop" apart. CONTROL.md describes them in this order.
var verbs = map[string]verb{
	"identity":       identity,
	"connect":        connect,
	"bootstrap":      bootstrap,
	"put":            put,
	"get":            get,
	"holds":          holds,
	"provide":        provide,
	"find_providers": findProviders,
	"find_peer":      findPeer,
	"closest_peers":  closestPeers,
	"ping":           pingPeer,
	"routing_table":  routingTable,
	"connections":    connections,
	"set_mode":       setMode,
	"request":        rawRequest,
	"stream":         rawStream,

	"kad_ping":      kadPing,
	"frames":        frames,
	"load":          load,
	"pretend_peers": pretendPeers,
	"judge":         judge,
	"choose":        choose,
	"public_key":    publicKey,
	"sign_name":     signName,
}

// tablePoll is how often bootstrap looks at the routing table; its changes have no event.
const tablePoll = 10 * time.Millisecond

func identity(_ context.Context, n *node, _ *request) (fields, error) {
	addresses, err := n.addresses()
	if err != nil {
		return nil, err
	}
	self := fields{"id": n.host.ID(), "addresses": addresses}
	return fields{"peer": self, "mode": n.mode(), "protocol": n.protocol}, nil
}

func connect(ctx context.Context, n *node, req *request) (fields, error) {
	infos, err := parsePeers([]string{req.Peer})
	if err != nil {
		return nil, err
	}
	return fields{}, n.host.Connect(ctx, infos[0])
}

// bootstrap connects to the given peers, waits until one of them is in the
// routing table, and refreshes it.
func bootstrap(ctx context.Context, n *node, req *request) (fields, error) {
	infos, err := parsePeers(req.Peers)
	if err != nil {
		return nil, err
	}
	for _, info := range infos {
		if err := n.host.Connect(ctx, info); err != nil {
			return nil, err
		}
	}
	table := n.dht.RoutingTable()
	for table.Size() == 0 {
		select {
		case <-time.After(tablePoll):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	select {
	case err = <-n.dht.ForceRefresh():
	case <-ctx.Done():
		err = ctx.Err()
	}
	return fields{"table": table.Size()}, err
}

// put has no receipt: PutValue does not say who stored the value. A refusal is
// looked for first, because its errors for that have no type.
func put(ctx context.Context, n *node, req *request) (fields, error) {
	key := string(req.Key)
	if err := n.dht.Validator.Validate(key, req.Value); err != nil {
		return nil, fmt.Errorf("%w: %w", errRefused, err)
	}
	own, err := n.values.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	if own != nil {
		// Of equal values the first is the best.
		best, err := n.dht.Validator.Select(key, [][]byte{req.Value, own.GetValue()})
		if err != nil || best != 0 {
			return nil, fmt.Errorf("%w: this node has a better value", errRefused)
		}
	}
	return fields{}, n.dht.PutValue(ctx, key, req.Value)
}

func get(ctx context.Context, n *node, req *request) (fields, error) {
	var options []routing.Option
	if req.Quorum > 0 {
		options = append(options, dht.Quorum(req.Quorum))
	}
	value, err := n.dht.GetValue(ctx, string(req.Key), options...)
	return fields{"value": value}, err
}

// holds says what is in the node's own stores under a key, without asking anybody.
func holds(ctx context.Context, n *node, req *request) (fields, error) {
	record, err := n.values.Get(ctx, string(req.Key))
	if err != nil {
		return nil, err
	}
	providers, err := n.dht.ProviderStore().GetProviders(ctx, req.Key)
	if err != nil {
		return nil, err
	}
	return fields{"value": record != nil, "providers": infosOf(providers)}, nil
}

func provide(ctx context.Context, n *node, req *request) (fields, error) {
	content, err := contentOf(req.Key)
	if err != nil {
		return nil, err
	}
	return fields{}, n.dht.Provide(ctx, content, true)
}

func findProviders(ctx context.Context, n *node, req *request) (fields, error) {
	content, err := contentOf(req.Key)
	if err != nil {
		return nil, err
	}
	// A provider is sent again when its addresses are heard of later.
	found := map[peer.ID]peer.AddrInfo{}
	for info := range n.dht.FindProvidersAsync(ctx, content, req.Count) {
		found[info.ID] = info
	}
	infos := make([]peer.AddrInfo, 0, len(found))
	for _, info := range found {
		infos = append(infos, info)
	}
	return fields{"providers": infosOf(infos)}, ctx.Err()
}

func findPeer(ctx context.Context, n *node, req *request) (fields, error) {
	id, err := parseID(req.Peer)
	if err != nil {
		return nil, err
	}
	info, err := n.dht.FindPeer(ctx, id)
	if err != nil {
		return nil, err
	}
	return fields{"peer": infoOf(info)}, nil
}

func closestPeers(ctx context.Context, n *node, req *request) (fields, error) {
	ids, err := n.dht.GetClosestPeers(ctx, string(req.Key))
	if err != nil {
		return nil, err
	}
	return fields{"peers": infosOf(peerstore.AddrInfos(n.host.Peerstore(), ids))}, nil
}

// pingPeer measures a round trip over libp2p's ping protocol.
func pingPeer(ctx context.Context, n *node, req *request) (fields, error) {
	id, err := parseID(req.Peer)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // else it would ping on
	result, ok := <-ping.Ping(ctx, n.host, id)
	if !ok { // the end of the context ends the pings without a result
		return nil, ctx.Err()
	}
	return fields{"round_trip": result.RTT.Seconds()}, result.Error
}

func routingTable(_ context.Context, n *node, _ *request) (fields, error) {
	ids := n.dht.RoutingTable().ListPeers()
	return fields{"peers": infosOf(peerstore.AddrInfos(n.host.Peerstore(), ids))}, nil
}

func connections(_ context.Context, n *node, _ *request) (fields, error) {
	open := []fields{}
	for _, conn := range n.host.Network().Conns() {
		open = append(open, fields{
			"id":        conn.RemotePeer(),
			"address":   conn.RemoteMultiaddr(),
			"direction": conn.Stat().Direction.String(),
		})
	}
	return fields{"count": len(n.host.Network().Peers()), "connections": open}, nil
}

func setMode(ctx context.Context, n *node, req *request) (fields, error) {
	return fields{"mode": req.Mode}, n.setMode(ctx, req.Mode)
}

// contentOf makes a CID of a multihash: providers are kept under the multihash alone.
func contentOf(key []byte) (cid.Cid, error) {
	hash, err := multihash.Cast(key)
	if err != nil {
		return cid.Undef, fmt.Errorf("%w: key: %w", errUsage, err)
	}
	return cid.NewCidV1(cid.Raw, hash), nil
}

func parseID(text string) (peer.ID, error) {
	id, err := peer.Decode(text)
	if err != nil {
		return "", fmt.Errorf("%w: peer %q: %w", errUsage, text, err)
	}
	return id, nil
}

func infoOf(info peer.AddrInfo) fields {
	addresses := make([]string, len(info.Addrs))
	for i, addr := range info.Addrs {
		addresses[i] = addr.String()
	}
	return fields{"id": info.ID, "addresses": addresses}
}

func infosOf(infos []peer.AddrInfo) []fields {
	all := make([]fields, len(infos))
	for i, info := range infos {
		all[i] = infoOf(info)
	}
	return all
}
