package leader

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"

	"github.com/weir-lb/weir/cluster"
)

// secret makes the token by which load monitors know who may ask them, where there is none: 256 bits of chance.
func (t *term) secret(ctx context.Context) error {
	token, err := t.config.Store.Secret(ctx)
	if err != nil {
		return fmt.Errorf("look for the token of the load monitors: %w", err)
	}
	if token != "" {
		return nil
	}
	random := make([]byte, 32)
	_, _ = rand.Read(random) // which does not fail
	if _, err := t.Write(ctx, cluster.SetSecret{Token: hex.EncodeToString(random)}); err != nil {
		return fmt.Errorf("make a token for the load monitors: %w", err)
	}
	t.log.Info("made the token by which load monitors know who may ask", "key", "ops/secret")
	return nil
}
