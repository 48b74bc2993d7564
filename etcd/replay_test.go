package etcd

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// A watch that hears any stretch of the past again, at any moment and as often as it may be, ends where one does that
// heard each event once. Only the order within a stretch is kept, as etcd keeps it.
func TestReplaysChangeNothing(t *testing.T) {
	t.Parallel()
	const histories, length = 10_000, 6
	for n := range histories {
		random := rand.New(rand.NewPCG(1, uint64(n)))
		v, want, said := newView(), map[string]string{}, []event(nil)
		v.list(listing{revision: 1})
		for revision := int64(2); revision < 2+length; revision++ {
			i := random.IntN(4)
			e := event{entry: entry{key: fmt.Sprintf("net/services/s%d", i), created: revision, modded: revision}}
			service := svc(fmt.Sprintf("s%d", i), 1+random.IntN(200))
			if _, there := want[service.Name]; there && random.IntN(3) == 0 {
				e.deleted = true
				delete(want, service.Name)
			} else {
				value, err := encode(service)
				require.NoError(t, err)
				e.value, want[service.Name] = value, service.Instances[0].ID
			}
			said = append(said, e)
			v.events(said[len(said)-1:])
			from := random.IntN(len(said))
			v.events(said[from : from+random.IntN(len(said)-from+1)])
		}
		got := map[string]string{}
		for name, in := range v.snapshot().Services.All() {
			got[name] = in.Service.Instances[0].ID
		}
		require.Equal(t, want, got, "history %d", n)
	}
}
