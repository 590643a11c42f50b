package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	kbucket "github.com/libp2p/go-libp2p-kbucket"
	"github.com/libp2p/go-libp2p/core/routing"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
)

const (
	// A value of 4 MiB, the largest message of the protocol, in base64, and room for its key.
	maxLine = 8 << 20

	defaultTimeout = 30 * time.Second
)

// errRefused marks a record that this node itself will not have.
var errRefused = errors.New("refused")

// request is one line of input: a verb and what that verb needs.
type request struct {
	ID        json.RawMessage `json:"id"`
	Verb      string          `json:"verb"`
	Timeout   float64         `json:"timeout"` // seconds; 0 takes the default
	Key       []byte          `json:"key"`
	Value     []byte          `json:"value"`
	Peer      string          `json:"peer"`
	Peers     []string        `json:"peers"`
	Count     int             `json:"count"`
	Quorum    int             `json:"quorum"`
	Mode      string          `json:"mode"`
	InFlight  int             `json:"in_flight"`
	Requests  int             `json:"requests"`
	Values    [][]byte        `json:"values"`
	Type      string          `json:"type"`
	HalfClose bool            `json:"half_close"`

	// What a record is made of.
	Private  []byte    `json:"private"`
	Sequence uint64    `json:"sequence"`
	Expires  time.Time `json:"expires"`
	TTL      int64     `json:"ttl"` // nanoseconds
	V2Only   bool      `json:"v2_only"`
	Embed    *bool     `json:"embed"`
	Metadata bool      `json:"metadata"`
}

// fields are what a verb answers, beside id, ok and seconds.
type fields map[string]any

// controller turns lines into verbs and results into lines. Verbs run concurrently.
type controller struct {
	node *node

	mu  sync.Mutex // guards out
	out *json.Encoder
}

func newController(n *node, out io.Writer) *controller {
	return &controller{node: n, out: json.NewEncoder(out)}
}

// ready writes the first line: the node serves, and this is where.
func (c *controller) ready() error {
	ready, err := identity(context.Background(), c.node, nil)
	if err != nil {
		return err
	}
	ready["event"] = "ready"
	ready["versions"] = versions()
	return c.write(ready)
}

// serve answers requests until the input ends or "stop" comes, and then cancels
// what still runs.
func (c *controller) serve(ctx context.Context, in io.Reader) error {
	var running sync.WaitGroup
	defer running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var req request
		decoder := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&req); err != nil {
			c.answer(&req, time.Now(), nil, fmt.Errorf("%w: %w", errUsage, err))
			continue
		}
		if req.Verb == "stop" {
			c.answer(&req, time.Now(), fields{}, nil)
			return nil
		}
		running.Go(func() { c.execute(ctx, &req) })
	}
	return lines.Err()
}

// execute runs one verb under its own deadline.
func (c *controller) execute(ctx context.Context, req *request) {
	started := time.Now()
	timeout := defaultTimeout
	if req.Timeout > 0 {
		timeout = time.Duration(req.Timeout * float64(time.Second))
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	verb, ok := verbs[req.Verb]
	if !ok {
		c.answer(req, started, nil, fmt.Errorf("%w: verb %q", errors.ErrUnsupported, req.Verb))
		return
	}
	result, err := verb(ctx, c.node, req)
	c.answer(req, started, result, err)
}

// answer writes the one line that a request gets.
func (c *controller) answer(req *request, started time.Time, result fields, err error) {
	if err != nil {
		result = fields{"error": fields{"kind": kindOf(err), "text": err.Error()}}
	}
	result["id"] = req.ID
	result["ok"] = err == nil
	result["seconds"] = time.Since(started).Seconds()
	// Nobody is left to tell when standard output is gone; the input ends with it.
	_ = c.write(result)
}

func (c *controller) write(line fields) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.Encode(line)
}

// kindOf names an error in the words that all peers share (CONTROL.md, "Errors").
func kindOf(err error) string {
	var dial *swarm.DialError
	switch {
	case errors.Is(err, errUsage):
		return "usage"
	case errors.Is(err, errRefused):
		return "refused"
	case errors.Is(err, errors.ErrUnsupported), errors.Is(err, routing.ErrNotSupported):
		return "unsupported"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, routing.ErrNotFound):
		return "not_found"
	case errors.Is(err, kbucket.ErrLookupFailure):
		return "no_peers"
	case errors.As(err, &dial):
		return "unreachable"
	default:
		return "failed"
	}
}

// versions are those of the language and of the modules that speak on the wire.
func versions() fields {
	spoken := []string{"github.com/libp2p/go-libp2p", "github.com/libp2p/go-libp2p-kad-dht", "github.com/ipfs/boxo"}
	found := fields{"go": runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if slices.Contains(spoken, module.Path) {
				found[path.Base(module.Path)] = module.Version
			}
		}
	}
	return found
}
