package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"sync"

	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
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
	text, err := asJSON(&message)
	if err != nil {
		return &frame{Wire: wire}
	}
	return &frame{Wire: wire, Message: text}
}

// Fields that rust-libp2p adds to a record (libp2p-kad, dht.proto), and that
// this implementation keeps without knowing them.
const (
	publisherField protowire.Number = 666 // bytes
	ttlField       protowire.Number = 777 // uint32
)

func asJSON(message *pb.Message) (json.RawMessage, error) {
	text, err := protojson.Marshal(message)
	added := addedByRust(message.Record.ProtoReflect().GetUnknown())
	if err != nil || len(added) == 0 {
		return text, err
	}
	var whole map[string]any
	if err := json.Unmarshal(text, &whole); err != nil {
		return nil, err
	}
	maps.Copy(whole["record"].(map[string]any), added)
	return json.Marshal(whole)
}

// addedByRust reads the publisher and the ttl among the unknown fields of a record.
func addedByRust(unknown protoreflect.RawFields) fields {
	found := fields{}
	for len(unknown) > 0 {
		number, kind, length := protowire.ConsumeField(unknown)
		value := unknown[protowire.SizeTag(number):length]
		switch {
		case number == publisherField && kind == protowire.BytesType:
			found["publisher"], _ = protowire.ConsumeBytes(value)
		case number == ttlField && kind == protowire.VarintType:
			found["ttl"], _ = protowire.ConsumeVarint(value)
		}
		unknown = unknown[length:]
	}
	return found
}

// exchange is a request and its reply, which is nil for a request that gets none.
type exchange struct {
	Peer     peer.ID `json:"peer"`
	Outbound bool    `json:"outbound"` // the request is this node's own
	Request  *frame  `json:"request"`
	Reply    *frame  `json:"reply"`
}

// recorder keeps the exchanges on all streams, in the order of the requests.
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

func (r *recorder) request(with peer.ID, outbound bool, wire []byte) *exchange {
	r.mu.Lock()
	defer r.mu.Unlock()
	begun := &exchange{Peer: with, Outbound: outbound, Request: newFrame(wire)}
	r.kept = append(r.kept, begun)
	return begun
}

func (r *recorder) reply(begun *exchange, wire []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if begun == nil { // a peer may write before it was asked anything
		return
	}
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

// recordingHost is a host whose streams tell a recorder what passes.
type recordingHost struct {
	host.Host
	recorder *recorder
}

func (h recordingHost) NewStream(ctx context.Context, p peer.ID, ids ...protocol.ID) (network.Stream, error) {
	stream, err := h.Host.NewStream(ctx, p, ids...)
	if err != nil {
		return nil, err
	}
	recorded := &recordedStream{Stream: stream}
	recorded.written.done, recorded.read.done = h.recorder.parts(stream, true)
	return recorded, nil
}

func (h recordingHost) SetStreamHandler(id protocol.ID, handle network.StreamHandler) {
	h.Host.SetStreamHandler(id, func(stream network.Stream) {
		recorded := &recordedStream{Stream: stream}
		recorded.read.done, recorded.written.done = h.recorder.parts(stream, false)
		handle(recorded)
	})
}

// parts are what the requests on a stream are handed to, and its replies. The
// protocol has one request outstanding on a stream, so a reply belongs to the
// latest one.
func (r *recorder) parts(stream network.Stream, outbound bool) (request, reply func(wire []byte)) {
	var latest *exchange
	with := stream.Conn().RemotePeer()
	request = func(wire []byte) { latest = r.request(with, outbound, wire) }
	return request, func(wire []byte) { r.reply(latest, wire) }
}

// recordedStream cuts what is written and what is read into frames.
type recordedStream struct {
	network.Stream
	written, read splitter
}

// Write shows the recorder a request before it leaves, so that no reply can overtake it.
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
