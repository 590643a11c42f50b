package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-msgio"
	"github.com/multiformats/go-multiaddr"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// load measures how fast a peer answers FIND_NODE: in_flight streams, all
// reused, each with one request outstanding, until all requests are answered.
// Every reply is decoded. One that cannot be, or a reset, ends the measurement.
func load(ctx context.Context, n *node, req *request) (fields, error) {
	infos, err := parsePeers([]string{req.Peer})
	if err != nil {
		return nil, err
	}
	if req.InFlight < 1 || req.Requests < 1 {
		return nil, fmt.Errorf("%w: in_flight and requests: 1 or more", errUsage)
	}
	if err := n.host.Connect(ctx, infos[0]); err != nil {
		return nil, err
	}
	var askers []*asker
	defer func() {
		for _, asker := range askers {
			_ = asker.stream.Reset()
		}
	}()
	for range req.InFlight {
		asker, err := newAsker(ctx, n, infos[0].ID)
		if err != nil {
			return nil, err
		}
		askers = append(askers, asker)
	}
	return runLoad(askers, req.Requests)
}

// runLoad lets the askers, whose streams carry the deadline, share the requests.
func runLoad(askers []*asker, requests int) (fields, error) {
	var left atomic.Int64
	left.Store(int64(requests))
	var group errgroup.Group
	started := time.Now()
	for _, asker := range askers {
		group.Go(func() error {
			for left.Add(-1) >= 0 {
				if err := asker.ask(); err != nil {
					left.Store(0)
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	elapsed := time.Since(started)

	var all seen
	for _, asker := range askers {
		all.latencies = append(all.latencies, asker.seen.latencies...)
		all.bytes += asker.seen.bytes
		all.peers += asker.seen.peers
	}
	slices.Sort(all.latencies)
	return fields{
		"requests":        requests,
		"in_flight":       len(askers),
		"elapsed":         elapsed.Seconds(),
		"rate":            float64(requests) / elapsed.Seconds(),
		"p50":             all.latencies[requests/2].Seconds(),
		"p99":             all.latencies[requests*99/100].Seconds(),
		"bytes_per_reply": float64(all.bytes) / float64(requests),
		"peers_per_reply": float64(all.peers) / float64(requests),
	}, nil
}

// asker owns a stream with one request outstanding at a time.
type asker struct {
	stream  network.Stream
	replies msgio.ReadCloser
	seen    seen
}

// seen is what replies brought: how long each took, and their bytes and peers in sum.
type seen struct {
	latencies []time.Duration
	bytes     int
	peers     int
}

// newAsker opens a stream and proves with one request, which does not count, that it works.
func newAsker(ctx context.Context, n *node, p peer.ID) (*asker, error) {
	stream, err := n.host.NewStream(ctx, p, n.protocol)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = stream.SetDeadline(deadline)
	}
	a := &asker{stream: stream, replies: msgio.NewVarintReaderSize(stream, network.MessageSizeMax)}
	if err := a.ask(); err != nil {
		_ = stream.Reset()
		return nil, err
	}
	a.seen = seen{}
	return a, nil
}

// ask sends FIND_NODE for a random key, with which no cache helps, and reads the reply.
func (a *asker) ask() error {
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	body, err := proto.Marshal(pb.NewMessage(pb.Message_FIND_NODE, key, 0))
	if err != nil {
		return err
	}
	started := time.Now()
	if _, err := a.stream.Write(protowire.AppendBytes(nil, body)); err != nil {
		return err
	}
	raw, err := a.replies.ReadMsg()
	if err != nil {
		return err
	}
	defer a.replies.ReleaseMsg(raw)
	var reply pb.Message
	if err := proto.Unmarshal(raw, &reply); err != nil {
		return err
	}
	if reply.GetType() != pb.Message_FIND_NODE {
		return fmt.Errorf("a reply of type %s to FIND_NODE", reply.GetType())
	}
	a.seen.latencies = append(a.seen.latencies, time.Since(started))
	a.seen.bytes += len(raw)
	a.seen.peers += len(reply.GetCloserPeers())
	return nil
}

// pretendPeers fills the routing table with peers that nobody can reach, so that
// replies have their usual size without a network. Start the peer with -refresh=false,
// or it finds out.
func pretendPeers(_ context.Context, n *node, req *request) (fields, error) {
	table := n.dht.RoutingTable()
	for i := range req.Count {
		_, public, err := crypto.GenerateEd25519Key(seeded(fmt.Sprintf("pretended %d", i)))
		if err != nil {
			return nil, err
		}
		id, err := peer.IDFromPublicKey(public)
		if err != nil {
			return nil, err
		}
		addr, err := multiaddr.NewMultiaddr(fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", 10_000+i))
		if err != nil {
			return nil, err
		}
		n.host.Peerstore().AddAddr(id, addr, peerstore.PermanentAddrTTL)
		if _, err := table.TryAddPeer(id, true, false); err != nil {
			return nil, err
		}
	}
	return fields{"table": table.Size()}, nil
}
