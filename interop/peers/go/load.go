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
	askers := make([]*asker, req.InFlight)
	for i := range askers {
		if askers[i], err = newAsker(ctx, n, infos[0].ID); err != nil {
			return nil, err
		}
		defer askers[i].stream.Reset()
	}
	return runLoad(ctx, askers, req.Requests)
}

func runLoad(ctx context.Context, askers []*asker, requests int) (fields, error) {
	var left atomic.Int64
	left.Store(int64(requests))
	started := time.Now()
	group, _ := errgroup.WithContext(ctx) // the streams carry the deadline
	for _, asker := range askers {
		group.Go(func() error {
			for left.Add(-1) >= 0 {
				if err := asker.ask(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := group.Wait()
	elapsed := time.Since(started)
	if err != nil {
		return nil, err
	}
	var latencies []time.Duration
	var bytes, peers int
	for _, asker := range askers {
		latencies = append(latencies, asker.latencies...)
		bytes += asker.bytes
		peers += asker.peers
	}
	slices.Sort(latencies)
	return fields{
		"requests":        requests,
		"in_flight":       len(askers),
		"elapsed":         elapsed.Seconds(),
		"rate":            float64(requests) / elapsed.Seconds(),
		"p50":             latencies[len(latencies)/2].Seconds(),
		"p99":             latencies[len(latencies)*99/100].Seconds(),
		"bytes_per_reply": bytes / requests,
		"peers_per_reply": float64(peers) / float64(requests),
	}, nil
}

// asker owns one stream and what it has seen on it.
type asker struct {
	stream    network.Stream
	replies   msgio.ReadCloser
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
	first := &asker{stream: stream, replies: msgio.NewVarintReaderSize(stream, network.MessageSizeMax)}
	if err := first.ask(); err != nil {
		_ = stream.Reset()
		return nil, err
	}
	return &asker{stream: stream, replies: first.replies}, nil
}

// ask sends FIND_NODE for a random key, as no cache helps with, and reads the reply.
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
	a.latencies = append(a.latencies, time.Since(started))
	a.bytes += len(raw)
	a.peers += len(reply.GetCloserPeers())
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
