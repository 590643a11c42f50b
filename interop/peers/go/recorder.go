package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"

	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"google.golang.org/protobuf/proto"
)

// frame is one length-prefixed message as it went over the wire.
type frame struct {
	Role string `json:"role"` // request or reply
	Type string `json:"type"` // as in the protocol's MessageType
	Wire []byte `json:"wire"` // with its length
}

// recorder keeps the frames of all outbound streams, in the order in which they completed.
type recorder struct {
	mu   sync.Mutex
	kept []frame
}

// take returns the frames kept so far and forgets them.
func (r *recorder) take() []frame {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := r.kept
	r.kept = nil
	return kept
}

func (r *recorder) keep(role string, wire []byte) {
	_, prefix := binary.Uvarint(wire)
	var message pb.Message
	kind := "undecodable"
	if proto.Unmarshal(wire[prefix:], &message) == nil {
		kind = message.GetType().String()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept = append(r.kept, frame{Role: role, Type: kind, Wire: wire})
}

// frames returns what was recorded since the last call; the peer must run with -record.
func frames(_ context.Context, n *node, _ *request) (fields, error) {
	if n.frames == nil {
		return nil, fmt.Errorf("%w: start the peer with -record", errUsage)
	}
	return fields{"frames": n.frames.take()}, nil
}

// kadPing sends the protocol's own, deprecated PING, to have its frames.
func kadPing(ctx context.Context, n *node, req *request) (fields, error) {
	id, err := parseID(req.Peer)
	if err != nil {
		return nil, err
	}
	return fields{}, n.dht.Ping(ctx, id)
}

// recordingHost is a host whose outbound streams tell a recorder what passes.
// On these a node writes requests and reads replies: both are on record, and
// frames between two such nodes only once.
type recordingHost struct {
	host.Host
	recorder *recorder
}

func (h recordingHost) NewStream(ctx context.Context, p peer.ID, ids ...protocol.ID) (network.Stream, error) {
	stream, err := h.Host.NewStream(ctx, p, ids...)
	if err != nil {
		return nil, err
	}
	return &recordedStream{
		Stream:   stream,
		requests: splitter{done: func(wire []byte) { h.recorder.keep("request", wire) }},
		replies:  splitter{done: func(wire []byte) { h.recorder.keep("reply", wire) }},
	}, nil
}

type recordedStream struct {
	network.Stream
	requests, replies splitter
}

func (s *recordedStream) Write(p []byte) (int, error) {
	n, err := s.Stream.Write(p)
	s.requests.feed(p[:n])
	return n, err
}

func (s *recordedStream) Read(p []byte) (int, error) {
	n, err := s.Stream.Read(p)
	s.replies.feed(p[:n])
	return n, err
}

// splitter cuts one direction of a stream into frames. Reads and writes are
// each sequential on a stream of the DHT, so it needs no lock.
type splitter struct {
	pending []byte
	done    func(wire []byte)
}

func (s *splitter) feed(p []byte) {
	s.pending = append(s.pending, p...)
	for {
		length, prefix := binary.Uvarint(s.pending)
		if prefix <= 0 || uint64(len(s.pending)-prefix) < length {
			return
		}
		end := prefix + int(length)
		s.done(append([]byte(nil), s.pending[:end]...))
		s.pending = s.pending[end:]
	}
}
