package main

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-msgio"
)

// rawStream writes bytes on a stream of its own and hands out the frames that
// come back. go-libp2p sends them in one packet with the negotiation, as it does
// for the DHT, because identify has told it that the peer speaks the protocol.
func rawStream(ctx context.Context, n *node, req *request) (fields, error) {
	infos, err := parsePeers([]string{req.Peer})
	if err != nil {
		return nil, err
	}
	if err := n.host.Connect(ctx, infos[0]); err != nil {
		return nil, err
	}
	stream, err := n.host.NewStream(ctx, infos[0].ID, n.protocol)
	if err != nil {
		return nil, err
	}
	defer stream.Reset()
	if deadline, ok := ctx.Deadline(); ok {
		_ = stream.SetDeadline(deadline)
	}
	if _, err := stream.Write(req.Value); err != nil {
		return nil, err
	}
	if req.HalfClose {
		if err := stream.CloseWrite(); err != nil {
			return nil, err
		}
	}
	return readFrames(stream, req.Count)
}

// readFrames returns as many frames, or all until the stream ends when count is 0.
func readFrames(stream network.Stream, count int) (fields, error) {
	reader := msgio.NewVarintReaderSize(stream, network.MessageSizeMax)
	found := [][]byte{}
	for count == 0 || len(found) < count {
		frame, err := reader.ReadMsg()
		switch {
		case errors.Is(err, io.EOF):
			return fields{"frames": found, "end": "closed"}, nil
		case errors.Is(err, network.ErrReset):
			return fields{"frames": found, "end": "reset"}, nil
		case err != nil:
			return nil, err
		}
		found = append(found, bytes.Clone(frame))
		reader.ReleaseMsg(frame)
	}
	return fields{"frames": found, "end": nil}, nil
}
