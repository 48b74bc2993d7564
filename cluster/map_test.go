package cluster_test

import (
	"maps"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/weir-lb/weir/cluster"
)

// Every version must stay what it was when it was sealed, whatever later edits do, and Changed must tell two versions
// apart exactly.
func TestMapAgainstAPlainMap(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		versions, models := []cluster.Map[int, int]{{}}, []map[int]int{{}}
		for range rapid.IntRange(1, 6).Draw(t, "versions") {
			from := rapid.IntRange(0, len(versions)-1).Draw(t, "from")
			edit, model := versions[from].Edit(), maps.Clone(models[from])
			for range rapid.IntRange(0, 40).Draw(t, "edits") {
				key, value := rapid.IntRange(0, 600).Draw(t, "key"), rapid.IntRange(0, 2).Draw(t, "value")
				if value == 0 {
					edit.Delete(key)
					delete(model, key)
				} else {
					edit.Set(key, value)
					model[key] = value
				}
				got, ok := edit.Get(key)
				require.Equal(t, value, got)
				require.Equal(t, value != 0, ok)
			}
			versions, models = append(versions, edit.Map()), append(models, model)
		}
		for i, m := range versions {
			require.Equal(t, models[i], maps.Collect(m.All()))
			require.Equal(t, len(models[i]), m.Len())
			for j, n := range versions {
				require.Equal(t, difference(models[i], models[j]), maps.Collect(cluster.Changed(m, n)))
			}
		}
	})
}

func difference(a, b map[int]int) map[int][2]int {
	out := map[int][2]int{}
	for k := range 601 {
		if a[k] != b[k] {
			out[k] = [2]int{a[k], b[k]}
		}
	}
	return out
}

func TestMapStopsWhenAsked(t *testing.T) {
	t.Parallel()
	edit := cluster.Map[int, int]{}.Edit()
	for i := range 100 {
		edit.Set(i, i+1)
	}
	m, seen := edit.Map(), 0
	for range m.All() {
		seen++
		break
	}
	for range cluster.Changed(cluster.Map[int, int]{}, m) {
		seen++
		break
	}
	for range cluster.Changed(m, cluster.Map[int, int]{}) {
		seen++
		break
	}
	require.Equal(t, 3, seen)
}
