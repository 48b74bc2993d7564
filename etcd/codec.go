package etcd

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"

	"github.com/weir-lb/weir/cluster"
)

// Barrier is the value of net/barrier. Only the revision of its key counts; the value tells people whose change moved it.
type Barrier struct {
	Change string    `json:"change"`
	At     time.Time `json:"at,omitzero"`
}

// Guard is the value of net/guard.
type Guard struct {
	Accept int64 `json:"accept"` // deletions that are held back up to this revision may pass
}

// encode writes one line of JSON that reads well in etcdctl.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// decode is strict: a value with a field that we do not know was written by a newer version or with a slip, and half
// of its meaning may be worse than none.
func decode[T any](value []byte) (*T, error) { return read[T](value, true) }

// decodeReport is lenient: what a newer node adds to its news takes nothing from what it said before.
func decodeReport[T any](value []byte) (*T, error) { return read[T](value, false) }

func read[T any](value []byte, strict bool) (*T, error) {
	if text := strings.TrimSpace(string(value)); text == "" || text == "null" {
		return nil, errors.New("the value is empty")
	}
	out := new(T)
	d := json.NewDecoder(bytes.NewReader(value))
	if strict {
		d.DisallowUnknownFields()
	}
	if err := d.Decode(out); err != nil {
		return nil, plain(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the value")
	}
	return out, nil
}

// plain says what is wrong with JSON without the names of Go's types.
func plain(err error) error {
	var mistyped *json.UnmarshalTypeError
	if !errors.As(err, &mistyped) {
		return errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	field := "the value"
	if mistyped.Field != "" {
		field = "field " + mistyped.Field
	}
	return fmt.Errorf("%s: %s is wanted, not %s", field, wanted(mistyped.Type), mistyped.Value)
}

func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Uint16:
		return "a port in 1..65535"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "a list"
	case reflect.Map:
		return "an object"
	case reflect.Struct, reflect.Pointer, reflect.Uint8:
		if reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
			return "a text"
		}
		return "an object"
	}
	return "a text"
}

// decodeValue reads what a key under net/ holds. The result is what feed takes for that kind.
func decodeValue(k Key, value []byte) (any, error) {
	switch k.Kind {
	case KindService:
		if len(value) > cluster.MaxFileBytes {
			return nil, fmt.Errorf("the service is larger than %d MiB: shorten its labels, or split it", cluster.MaxFileBytes>>20)
		}
		return checked(value, k, checkService)
	case KindInstance:
		return checked(value, k, checkInstance)
	case KindAdmin:
		return checked(value, k, checkAdmin)
	case KindNodeAdmin:
		return checked[cluster.NodeAdmin](value, k, nil)
	case KindWeights:
		return checked(value, k, checkWeights)
	case KindCalled:
		return checked[cluster.Called](value, k, nil)
	case KindHealth:
		return checked(value, k, checkHealth)
	case KindDown:
		return checked[cluster.Down](value, k, nil)
	case KindNode:
		return checked[cluster.Node](value, k, nil)
	case KindConfig:
		return checked(value, k, checkConfig)
	case KindGuard:
		return checked[Guard](value, k, nil)
	case KindReady, KindBarrier: // that the key is there is all they say
		return true, nil
	}
	return nil, fmt.Errorf("%s is not part of what agents read", k)
}

func checked[T any](value []byte, k Key, check func(Key, *T) error) (any, error) {
	v, err := decode[T](value)
	if err == nil && check != nil {
		err = check(k, v)
	}
	if err != nil {
		return nil, err
	}
	return v, nil
}

// checkService refuses what cannot be one service. Addresses, and weights that are all 0, are left to Resolve: it
// complains of them and keeps the rest of the service.
func checkService(k Key, s *cluster.Service) error {
	if s.Name != k.Service {
		return fmt.Errorf("the value names service %q: it must be the name in the key", s.Name)
	}
	for i := range s.Ports {
		if s.Ports[i].Protocol == 0 {
			s.Ports[i].Protocol = cluster.TCP
		}
	}
	if p := s.Unusable(); p != nil {
		p.Object = "the service"
		return *p
	}
	return nil
}

func checkInstance(k Key, i *cluster.Instance) error {
	i.ID, i.Node = k.ID, k.Node
	return i.Usable()
}

func checkAdmin(_ Key, a *cluster.Admin) error { return a.Usable() }

func checkWeights(_ Key, w *cluster.Weights) error { return w.Usable() }

func checkHealth(_ Key, h *cluster.NodeHealth) error {
	for service, instances := range *h {
		for id, health := range instances {
			if err := health.Usable(); err != nil {
				return fmt.Errorf("instance %q of service %q: %w", id, service, err)
			}
		}
	}
	return nil
}

func checkConfig(_ Key, c *cluster.Config) error {
	if problems := c.Validate(nil); len(problems) > 0 {
		return problems[0]
	}
	return nil
}

// malformed is the Problem of a key whose value, or whose very name, cannot be read.
func malformed(key string, err error) *cluster.Problem {
	object, what := "key "+printable(key), printable(err.Error())
	if rest, named := strings.CutPrefix(what, object); named { // one naming is enough
		what = "it" + rest
		if detail, ok := strings.CutPrefix(rest, ": "); ok {
			what = detail
		}
	}
	return &cluster.Problem{
		Object: object,
		What:   what,
		Fix:    "write it again, or delete it; until then its last good value, if there was one, stays in force",
	}
}
