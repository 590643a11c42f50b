package main

import (
	"context"
	"fmt"

	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	record "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-msgio"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// rawRequest sends one request on a stream of its own and hands out the reply.
func rawRequest(ctx context.Context, n *node, req *request) (fields, error) {
	kind, ok := pb.Message_MessageType_value[req.Type]
	if !ok {
		return nil, fmt.Errorf("%w: type %q", errUsage, req.Type)
	}
	infos, err := parsePeers([]string{req.Peer})
	if err != nil {
		return nil, err
	}
	if err := n.host.Connect(ctx, infos[0]); err != nil {
		return nil, err
	}
	message := pb.NewMessage(pb.Message_MessageType(kind), req.Key, 0)
	switch message.Type {
	case pb.Message_PUT_VALUE:
		message.Record = record.MakePutRecord(string(req.Key), req.Value)
	case pb.Message_ADD_PROVIDER:
		own := peer.AddrInfo{ID: n.host.ID(), Addrs: n.host.Addrs()}
		message.ProviderPeers = pb.RawPeerInfosToPBPeers([]peer.AddrInfo{own})
	}
	return exchangeOnce(ctx, n, infos[0].ID, message)
}

func exchangeOnce(ctx context.Context, n *node, to peer.ID, message *pb.Message) (fields, error) {
	body, err := proto.Marshal(message)
	if err != nil {
		return nil, err
	}
	stream, err := n.host.NewStream(ctx, to, n.protocol)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = stream.SetDeadline(deadline)
	}
	if _, err := stream.Write(protowire.AppendBytes(nil, body)); err != nil {
		return nil, err
	}
	if message.Type == pb.Message_ADD_PROVIDER {
		return fields{"type": nil}, nil
	}
	replies := msgio.NewVarintReaderSize(stream, network.MessageSizeMax)
	raw, err := replies.ReadMsg()
	if err != nil {
		return nil, err
	}
	defer replies.ReleaseMsg(raw)
	var reply pb.Message
	if err := proto.Unmarshal(raw, &reply); err != nil {
		return nil, err
	}
	return fieldsOf(&reply), nil
}

func fieldsOf(reply *pb.Message) fields {
	var held fields
	if reply.Record != nil {
		held = fields{"key": reply.Record.Key, "value": reply.Record.Value}
	}
	return fields{
		"type":      reply.Type.String(),
		"record":    held,
		"closer":    infosOf(derefs(pb.PBPeersToPeerInfos(reply.CloserPeers))),
		"providers": infosOf(derefs(pb.PBPeersToPeerInfos(reply.ProviderPeers))),
	}
}

func derefs(pointers []*peer.AddrInfo) []peer.AddrInfo {
	infos := make([]peer.AddrInfo, len(pointers))
	for i, pointer := range pointers {
		infos[i] = *pointer
	}
	return infos
}
