package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weir-lb/weir/cluster"
)

// Secret is the value of ops/secret.
type Secret struct {
	Token string `json:"token"`
}

// Bounds of a token: long enough not to be guessed, and short enough for a header.
const (
	minToken = 32
	maxToken = 256
)

// Secret is the token by which load monitors know who may ask them; "" when nobody has made one yet.
func (s *Store) Secret(ctx context.Context) (token string, err error) {
	const doing = "read the load monitors' token"
	key := Key{Kind: KindSecret}.String()
	err = s.do(ctx, doing, func(ctx context.Context, c *clientv3.Client) error {
		found, err := s.read(ctx, c, []string{key})
		if err != nil || found[0] == nil {
			token = ""
			return err
		}
		secret, err := decodeReport[Secret](found[0].Value)
		if err != nil {
			err = errors.New("it cannot be read") // what is wrong with it might tell a part of it
		} else {
			err = secret.usable()
		}
		if err != nil {
			return cluster.Problem{Object: "key " + key, What: err.Error(), Fix: "delete it: the leader makes a new one"}
		}
		token = secret.Token
		return nil
	})
	return token, err
}

// usable never says what the token is.
func (s Secret) usable() error {
	if len(s.Token) < minToken || len(s.Token) > maxToken {
		return fmt.Errorf("a token of %d characters is not one of %d..%d", len(s.Token), minToken, maxToken)
	}
	if strings.ContainsFunc(s.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("the token holds what cannot stand in a header")
	}
	return nil
}

// secret lays out a new token.
func (s *Store) secret(d cluster.SetSecret) (clientv3.Op, error) {
	value := Secret{Token: d.Token}
	if err := value.usable(); err != nil {
		return clientv3.Op{}, err
	}
	text, err := encode(value)
	return clientv3.OpPut(s.key(Key{Kind: KindSecret}), string(text)), err
}
