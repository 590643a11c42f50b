package main

import (
	"bytes"
	"errors"

	record "github.com/libp2p/go-libp2p-record"
)

// opaque accepts any bytes; of several values the largest, bytewise, is the best.
// p2pkad's OpaqueValidator has the same rule.
type opaque struct{}

var _ record.Validator = opaque{}

func (opaque) Validate(string, []byte) error { return nil }

func (opaque) Select(_ string, values [][]byte) (int, error) {
	if len(values) == 0 {
		return 0, errors.New("no values to select from")
	}
	best := 0
	for i, value := range values {
		if bytes.Compare(value, values[best]) > 0 {
			best = i
		}
	}
	return best, nil
}
