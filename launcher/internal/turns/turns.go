// Package turns keeps the calls for one instance apart from each other, in drivers whose calls come at the same time.
package turns

import (
	"context"
	"sync"
)

// Turns lets one caller at a time work on an instance.
type Turns struct {
	mu   sync.Mutex
	busy map[string]chan struct{} // closed when the turn is over
}

// New is with nobody at work.
func New() *Turns { return &Turns{busy: map[string]chan struct{}{}} }

// Take waits for the turn; the caller owes the call of what it gets.
func (t *Turns) Take(ctx context.Context, id string) (done func(), err error) {
	for {
		t.mu.Lock()
		over, taken := t.busy[id]
		if !taken {
			over = make(chan struct{})
			t.busy[id] = over
			t.mu.Unlock()
			return func() {
				t.mu.Lock()
				defer t.mu.Unlock()
				delete(t.busy, id)
				close(over)
			}, nil
		}
		t.mu.Unlock()
		select {
		case <-over:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
