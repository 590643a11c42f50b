package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/discovery/mdns"
)

const neighbourTimeout = 10 * time.Second

// neighbours connects to whoever announces itself on the local network; the
// DHT learns of them from identify.
type neighbours struct{ host host.Host }

// HandlePeerFound implements mdns.Notifee. Each call has a goroutine of its own.
func (n neighbours) HandlePeerFound(info peer.AddrInfo) {
	ctx, cancel := context.WithTimeout(context.Background(), neighbourTimeout)
	defer cancel()
	_ = n.host.Connect(ctx, info)
}

// meetNeighbours announces the host and looks for others until it is closed.
func meetNeighbours(h host.Host) (io.Closer, error) {
	service := mdns.NewMdnsService(h, mdns.ServiceName, neighbours{h})
	if err := service.Start(); err != nil {
		return nil, fmt.Errorf("starting mDNS: %w", err)
	}
	return service, nil
}
