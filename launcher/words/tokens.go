package words

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

const keySize = 32

// Tokens knows the token of every instance of a node.
type Tokens struct{ key []byte }

// OpenTokens reads the node's secret from a file, or makes it. The directory is to be closed to others.
func OpenTokens(file string) (*Tokens, error) {
	key, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		key = make([]byte, keySize)
		_, _ = rand.Read(key) // it cannot fail
		err = writeNew(file, key)
	}
	if err != nil {
		return nil, fmt.Errorf("read the secret of the instances' tokens: %w", err)
	}
	if len(key) != keySize {
		return nil, fmt.Errorf("the secret of the instances' tokens, %s, has %d bytes and not %d: remove it, and start instances anew that have to report", file, len(key), keySize)
	}
	return &Tokens{key}, nil
}

// writeNew writes a file whole or not at all.
func writeNew(file string, data []byte) error {
	f, err := os.OpenFile(file+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}

// Of is the token of an instance.
func (t *Tokens) Of(id string) string {
	mac := hmac.New(sha256.New, t.key)
	mac.Write([]byte("weir: the token of instance " + id))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// are says whether a token is that of an instance, in a time that tells nothing.
func (t *Tokens) are(token, id string) bool { return hmac.Equal([]byte(token), []byte(t.Of(id))) }
