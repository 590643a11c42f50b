package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"sync"

	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// frame is a message with its length as it went over the wire, and what it says
// to this implementation.
type frame struct {
	Wire    []byte          `json:"wire"`
	Message json.RawMessage `json:"message"` // protojson; absent when it is no message
}

func newFrame(wire []byte) *frame {
	_, prefix := binary.Uvarint(wire)
	var message pb.Message
	if err := proto.Unmarshal(wire[prefix:], &message); err != nil {
		return &frame{Wire: wire}
	}
	text, err := protojson.Marshal(&message)
	if err != nil {
		return &frame{Wire: wire}
	}
	return &frame{Wire: wire, Message: text}
}

// exchange is a request and its reply, which is nil for a request that gets none.
type exchange struct {
	Peer    peer.ID `json:"peer"`
	Request *frame  `json:"request"`
	Reply   *frame  `json:"reply"`
}

// recorder keeps the exchanges on all outbound streams, in the order of the requests.
type recorder struct {
	mu   sync.Mutex
	kept []*exchange
}

// take returns the exchanges kept so far and forgets them.
func (r *recorder) take() []exchange {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := make([]exchange, len(r.kept))
	for i, kept := range r.kept {
		taken[i] = *kept
	}
	r.kept = nil
	return taken
}

func (r *recorder) request(to peer.ID, wire []byte) *exchange {
	r.mu.Lock()
	defer r.mu.Unlock()
	begun := &exchange{Peer: to, Request: newFrame(wire)}
	r.kept = append(r.kept, begun)
	return begun
}

func (r *recorder) reply(begun *exchange, wire []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	begun.Reply = newFrame(wire)
}

// frames returns the exchanges since the last call; the peer must run with -record.
func frames(_ context.Context, n *node, _ *request) (fields, error) {
	if n.frames == nil {
		return nil, fmt.Errorf("%w: start the peer with -record", errUsage)
	}
	return fields{"exchanges": n.frames.take()}, nil
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
// Inbound ones are the outbound ones of somebody else, who can record them.
type recordingHost struct {
	host.Host
	recorder *recorder
}

func (h recordingHost) NewStream(ctx context.Context, p peer.ID, ids ...protocol.ID) (network.Stream, error) {
	stream, err := h.Host.NewStream(ctx, p, ids...)
	if err != nil {
		return nil, err
	}
	return newRecordedStream(stream, h.recorder), nil
}

// recordedStream cuts what is written into requests and what is read into
// replies. The DHT has one request outstanding on a stream, so a reply belongs
// to the latest one.
type recordedStream struct {
	network.Stream
	written, read splitter
}

func newRecordedStream(stream network.Stream, r *recorder) *recordedStream {
	var latest *exchange
	to := stream.Conn().RemotePeer()
	return &recordedStream{
		Stream:  stream,
		written: splitter{done: func(wire []byte) { latest = r.request(to, wire) }},
		read:    splitter{done: func(wire []byte) { r.reply(latest, wire) }},
	}
}

// Write shows the recorder the request before it leaves, so that no reply can overtake it.
func (s *recordedStream) Write(p []byte) (int, error) {
	s.written.feed(p)
	return s.Stream.Write(p)
}

func (s *recordedStream) Read(p []byte) (int, error) {
	n, err := s.Stream.Read(p)
	s.read.feed(p[:n])
	return n, err
}

// splitter cuts one direction of a stream into frames.
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
