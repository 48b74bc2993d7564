package etcd

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/weir-lb/weir/cluster"
)

// Kind is what a key is about.
type Kind int

// The kinds of keys. Those up to KindGuard lie under net/, which is all that an agent reads.
const (
	KindService Kind = iota
	KindInstance
	KindAdmin
	KindNodeAdmin
	KindWeights
	KindCalled
	KindHealth
	KindDown
	KindNode
	KindConfig
	KindReady
	KindBarrier
	KindGuard
	KindVIP
	KindAlive
	KindApplied
	KindRepairs
	KindGone
	KindAssign
	KindStatus
	KindPort
	KindLauncher
	KindLoadmon
	KindScale
	KindEvent
	KindWake
	KindMoved
	KindCrashes
	KindDigest
	KindSecret
	KindLeader
	kinds
)

// layouts are the keys as text, relative to the prefix. Words in capitals are the parts of a Key.
var layouts = [kinds]string{
	KindService:   "net/services/SERVICE",
	KindInstance:  "net/instances/NODE/SERVICE/ID",
	KindAdmin:     "net/admin/SERVICE/ID",
	KindNodeAdmin: "net/admin-node/NODE",
	KindWeights:   "net/weights/SERVICE",
	KindCalled:    "net/called/SERVICE",
	KindHealth:    "net/health/NODE",
	KindDown:      "net/down/NODE",
	KindNode:      "net/nodes/NODE",
	KindConfig:    "net/config",
	KindReady:     "net/ready",
	KindBarrier:   "net/barrier",
	KindGuard:     "net/guard",
	KindVIP:       "ops/vips/VIP/PROTO/PORT",
	KindAlive:     "ops/alive/NODE",
	KindApplied:   "ops/applied/NODE",
	KindRepairs:   "ops/repairs/NODE",
	KindGone:      "ops/gone/NODE",
	KindAssign:    "ops/assign/NODE/ID",
	KindStatus:    "ops/status/NODE/ID",
	KindPort:      "ops/ports/NODE/PORT",
	KindLauncher:  "ops/launchers/NODE",
	KindLoadmon:   "ops/loadmons/NODE",
	KindScale:     "ops/scale/SERVICE",
	KindEvent:     "ops/events/SERVICE/REVISION",
	KindWake:      "ops/wake/SERVICE",
	KindMoved:     "ops/moved/SERVICE",
	KindCrashes:   "ops/crashes/SERVICE",
	KindDigest:    "ops/digest",
	KindSecret:    "ops/secret",
	KindLeader:    "ops/leader/ID",
}

// Key is one key, taken apart. Only the parts that its kind has are set.
type Key struct {
	Kind              Kind
	Service, Node, ID string
	VIP               netip.Addr
	Proto             cluster.Proto
	Port              uint16
	Revision          int64
}

// FrontendKey is where a frontend is reserved.
func FrontendKey(f cluster.Frontend) Key {
	return Key{Kind: KindVIP, VIP: f.VIP, Proto: f.Proto, Port: f.Port}
}

// String is the key relative to the prefix.
func (k Key) String() string {
	words := strings.Split(layouts[k.Kind], "/")
	for i, word := range words {
		if text, ok := k.part(word); ok {
			words[i] = text
		}
	}
	return strings.Join(words, "/")
}

func (k Key) part(word string) (string, bool) {
	switch word {
	case "SERVICE":
		return k.Service, true
	case "NODE":
		return k.Node, true
	case "ID":
		return k.ID, true
	case "VIP":
		return k.VIP.String(), true
	case "PROTO":
		return k.Proto.String(), true
	case "PORT":
		return strconv.Itoa(int(k.Port)), true
	case "REVISION":
		return strconv.FormatInt(k.Revision, 10), true
	}
	return "", false
}

// ParseKey reads a key relative to the prefix. It accepts exactly what String writes.
func ParseKey(s string) (Key, error) {
	l, ok := layoutOf[head(s)]
	if !ok {
		return Key{}, fmt.Errorf("key %s is unknown", printable(s))
	}
	parts := strings.Split(s, "/")
	if len(parts) != len(l.words) {
		return Key{}, fmt.Errorf("key %s: want %s", printable(s), layouts[l.kind])
	}
	k := Key{Kind: l.kind}
	for i := l.literal; i < len(parts); i++ {
		if err := k.set(l.words[i], parts[i]); err != nil {
			return Key{}, fmt.Errorf("key %s: %w", printable(s), err)
		}
	}
	if canonical := k.String(); canonical != s {
		return Key{}, fmt.Errorf("key %s: write it as %s", printable(s), canonical)
	}
	return k, nil
}

// Valid says what is wrong with the parts of a key that somebody built, or nil. It keeps a slash in a name from
// reaching somebody else's key.
func (k Key) Valid() error {
	parsed, err := ParseKey(k.String())
	if err == nil && parsed != k {
		err = fmt.Errorf("key %s: a part of it is not what it stands for", printable(k.String()))
	}
	return err
}

func (k *Key) set(word, text string) (err error) {
	var number uint64
	switch word {
	case "SERVICE":
		k.Service, err = text, named(text)
	case "NODE":
		k.Node, err = text, named(text)
	case "ID":
		if k.ID = text; cluster.ValidID(text) != "" {
			err = fmt.Errorf("%s", printable(cluster.ValidID(text)))
		}
	case "VIP":
		k.VIP, err = netip.ParseAddr(text)
	case "PROTO":
		k.Proto, err = cluster.ParseProto(text)
	case "PORT":
		number, err = strconv.ParseUint(text, 10, 16)
		k.Port = uint16(number)
	case "REVISION":
		k.Revision, err = strconv.ParseInt(text, 10, 64)
	}
	return err
}

func named(name string) error {
	if why := cluster.ValidName(name); why != "" {
		return fmt.Errorf("%s", printable(why))
	}
	return nil
}

type layout struct {
	kind    Kind
	words   []string
	literal int // how many words are literal: all of them come first
}

// layoutOf finds a layout by its literal beginning.
var layoutOf = func() map[string]layout {
	out := map[string]layout{}
	for kind, text := range layouts {
		l := layout{kind: Kind(kind), words: strings.Split(text, "/"), literal: 2}
		out[strings.Join(l.words[:2], "/")] = l
	}
	return out
}()

// head is the first two words: all that is literal in every layout.
func head(s string) string {
	first, rest, ok := strings.Cut(s, "/")
	if !ok {
		return s
	}
	second, _, _ := strings.Cut(rest, "/")
	return s[:len(first)+1+len(second)]
}
