package hook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/plain"
	"github.com/weir-lb/weir/launcher"
)

// The calls.
const (
	acquire = "acquire"
	release = "release"
	list    = "list"
)

const maxAnswer = 4 << 20

// request is what a hook is asked.
type request struct {
	Owner string           `json:"owner"`           // whose instances: the name of the launcher's node
	Key   string           `json:"key,omitempty"`   // the same for every repetition of one wish
	ID    string           `json:"id,omitempty"`    // to release
	Grace cluster.Duration `json:"grace,omitempty"` // for the end of what is released
	Spec  *launcher.Spec   `json:"spec,omitempty"`  // to acquire
}

// acquired is the answer to acquire.
type acquired struct {
	ID   string     `json:"id"`
	Host netip.Addr `json:"host"`
}

// listed is the answer to list.
type listed struct {
	Instances []entry `json:"instances"`
}

type entry struct {
	Kind    cluster.Kind `json:"kind"` // node, or nothing
	ID      string       `json:"id"`
	Service string       `json:"service"`
	Host    netip.Addr   `json:"host"`
	Key     string       `json:"key"`
	Problem string       `json:"problem"` // it is there, but not well
}

// caller carries one call to the hook and its answer back, at most maxAnswer bytes of it.
type caller interface {
	call(ctx context.Context, what string, key string, body []byte) ([]byte, error)
}

// ask makes one call and reads its answer, which has to be one JSON value and nothing else.
func (d *Driver) ask(ctx context.Context, what string, r request, answer any) error {
	select {
	case d.places <- struct{}{}:
		defer func() { <-d.places }()
	case <-ctx.Done():
		return ctx.Err()
	}
	r.Owner = d.config.Owner
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, d.config.Timeout, fmt.Errorf("no answer within %s", d.config.Timeout))
	defer cancel()
	text, err := d.caller.call(ctx, what, r.Key, body)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	if err != nil {
		return fmt.Errorf("hook %s: %w", what, err)
	}
	return read(what, text, answer)
}

func read(what string, text []byte, answer any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(answer); err != nil {
		return fmt.Errorf("hook %s: its answer %q: %w: %w", what, plain.Line(string(text), 100), launcher.ErrUntrue, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("hook %s: it answered more than once: %q: %w", what, plain.Line(string(text), 100), launcher.ErrUntrue)
	}
	return nil
}
