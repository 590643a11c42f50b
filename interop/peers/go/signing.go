package main

import (
	"context"
	"fmt"
	"time"

	"github.com/ipfs/boxo/ipns"
	"github.com/ipfs/boxo/path"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/routing"
)

// judge says whether the validator of the key's namespace takes a value.
func judge(_ context.Context, n *node, req *request) (fields, error) {
	if err := n.dht.Validator.Validate(string(req.Key), req.Value); err != nil {
		return nil, fmt.Errorf("%w: %w", errRefused, err)
	}
	return fields{}, nil
}

// choose says which of several values the validator of the key's namespace prefers.
func choose(_ context.Context, n *node, req *request) (fields, error) {
	best, err := n.dht.Validator.Select(string(req.Key), req.Values)
	return fields{"best": best}, err
}

// publicKey makes the record that a peer with this private key has under /pk.
func publicKey(_ context.Context, n *node, req *request) (fields, error) {
	private, id, err := signer(n, req)
	if err != nil {
		return nil, err
	}
	value, err := crypto.MarshalPublicKey(private.GetPublic())
	return fields{"key": []byte(routing.KeyForPublicKey(id)), "value": value}, err
}

// signName makes the record that a peer with this private key has under /ipns.
func signName(_ context.Context, n *node, req *request) (fields, error) {
	private, id, err := signer(n, req)
	if err != nil {
		return nil, err
	}
	target, err := path.NewPath(string(req.Value))
	if err != nil {
		return nil, fmt.Errorf("%w: value: %w", errUsage, err)
	}
	options := []ipns.Option{ipns.WithV1Compatibility(!req.V2Only)}
	if req.Embed != nil {
		options = append(options, ipns.WithPublicKey(*req.Embed))
	}
	if req.Metadata {
		options = append(options, ipns.WithMetadata(map[string]any{
			"_text": "text", "_bytes": []byte{0, 255}, "_number": -1, "_flag": true,
		}))
	}
	signed, err := ipns.NewRecord(private, target, req.Sequence, req.Expires, time.Duration(req.TTL), options...)
	if err != nil {
		return nil, err
	}
	value, err := ipns.MarshalRecord(signed)
	return fields{"key": ipns.NameFromPeer(id).RoutingKey(), "value": value}, err
}

// signer is the private key in a request, or the node's own, and whose it is.
func signer(n *node, req *request) (crypto.PrivKey, peer.ID, error) {
	if len(req.Private) == 0 {
		return n.host.Peerstore().PrivKey(n.host.ID()), n.host.ID(), nil
	}
	private, err := crypto.UnmarshalPrivateKey(req.Private)
	if err != nil {
		return nil, "", fmt.Errorf("%w: private: %w", errUsage, err)
	}
	id, err := peer.IDFromPrivateKey(private)
	return private, id, err
}
