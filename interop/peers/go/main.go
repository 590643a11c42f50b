// Command peer is a go-libp2p-kad-dht node that does what it is told: requests
// come in as JSON lines on standard input, answers go out on standard output.
// interop/CONTROL.md describes the protocol, which peers in every language share.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	err := run(os.Args[1:])
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
}

// run serves until standard input ends, "stop" is asked for, or a signal arrives.
func run(arguments []string) error {
	config, err := parseConfig(arguments)
	if err != nil {
		return err
	}
	ctx, release := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer release()

	node, err := newNode(config)
	if err != nil {
		return err
	}
	defer node.close()

	controller := newController(node, os.Stdout)
	if err := controller.ready(); err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- controller.serve(ctx, os.Stdin) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
		return nil
	}
}
