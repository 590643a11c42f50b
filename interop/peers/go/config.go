package main

import (
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/ipfs/boxo/ipns"
	record "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/peer"
)

// errUsage marks what the caller has to write differently: a flag or a request.
var errUsage = errors.New("usage")

const (
	modeServer = "server"
	modeClient = "client"
)

// config is what the command line says. CONTROL.md lists the flags that all
// peers share; record, refresh and mdns are this peer's own.
type config struct {
	listen     list
	protocol   string
	mode       string
	bootstrap  []peer.AddrInfo
	validators record.NamespacedValidator
	bucketSize int
	alpha      int
	beta       int
	seed       string
	record     bool
	refresh    bool
	mdns       bool
}

func parseConfig(arguments []string) (config, error) {
	var c config
	var bootstrap, validators list
	flags := flag.NewFlagSet("peer", flag.ContinueOnError)
	flags.SetOutput(os.Stderr)
	flags.Var(&c.listen, "listen", "multiaddr to listen on; may be repeated (default /ip4/127.0.0.1/tcp/0)")
	flags.StringVar(&c.protocol, "protocol", "/violence/kad/1.0.0", "protocol id, used verbatim")
	flags.StringVar(&c.mode, "mode", modeServer, "server or client")
	flags.Var(&bootstrap, "bootstrap", "multiaddr of a peer to begin with; may be repeated")
	flags.Var(&validators, "validator", "NAMESPACE=KIND, kind pk, ipns or opaque; may be repeated (pk=pk is always there)")
	flags.IntVar(&c.bucketSize, "bucket-size", 20, "peers in a bucket, and the replication factor k")
	flags.IntVar(&c.alpha, "alpha", 10, "requests of a lookup in flight")
	flags.IntVar(&c.beta, "beta", 3, "nearest peers that must have answered")
	flags.StringVar(&c.seed, "seed", "", "makes the identity from this text instead of from randomness")
	flags.BoolVar(&c.record, "record", false, "keep the frames of the protocol for the verb frames")
	flags.BoolVar(&c.refresh, "refresh", true, "refresh the routing table by itself")
	flags.BoolVar(&c.mdns, "mdns", false, "announce this peer on the local network, and connect to others there")
	if err := flags.Parse(arguments); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return c, err
		}
		return c, fmt.Errorf("%w: %w", errUsage, err)
	}
	return c, c.complete(flags.Args(), bootstrap, validators)
}

// complete fills defaults and parses what flag does not: addresses and validators.
func (c *config) complete(rest, bootstrap, validators []string) (err error) {
	if len(rest) > 0 {
		return fmt.Errorf("%w: unexpected argument %q", errUsage, rest[0])
	}
	if c.mode != modeServer && c.mode != modeClient {
		return fmt.Errorf("%w: mode %q: server or client", errUsage, c.mode)
	}
	if len(c.listen) == 0 {
		c.listen = list{"/ip4/127.0.0.1/tcp/0"}
	}
	if c.bootstrap, err = parsePeers(bootstrap); err != nil {
		return err
	}
	c.validators, err = parseValidators(validators)
	return err
}

func parseValidators(texts []string) (record.NamespacedValidator, error) {
	validators := record.NamespacedValidator{"pk": record.PublicKeyValidator{}}
	for _, text := range texts {
		namespace, kind, _ := strings.Cut(text, "=")
		switch kind {
		case "pk":
			validators[namespace] = record.PublicKeyValidator{}
		case "ipns":
			validators[namespace] = ipns.Validator{}
		case "opaque":
			validators[namespace] = opaque{}
		default:
			return nil, fmt.Errorf("%w: validator %q: NAMESPACE=pk, NAMESPACE=ipns or NAMESPACE=opaque", errUsage, text)
		}
	}
	return validators, nil
}

func parsePeers(texts []string) ([]peer.AddrInfo, error) {
	infos := make([]peer.AddrInfo, 0, len(texts))
	for _, text := range texts {
		info, err := peer.AddrInfoFromString(text)
		if err != nil {
			return nil, fmt.Errorf("%w: peer %q: %w", errUsage, text, err)
		}
		infos = append(infos, *info)
	}
	return infos, nil
}

// seeded is a key generator's source of randomness that is none.
func seeded(seed string) *strings.Reader {
	digest := sha256.Sum256([]byte(seed))
	return strings.NewReader(string(digest[:]))
}

// list is a flag that may be repeated.
type list []string

func (l *list) String() string { return strings.Join(*l, " ") }

func (l *list) Set(text string) error {
	*l = append(*l, text)
	return nil
}
