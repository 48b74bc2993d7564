package doctor

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the tables of the docs anew")

const docs = "../../docs/operations.md"

// TestDocs holds the tables of checks in the docs to the checks.
func TestDocs(t *testing.T) {
	for title, list := range map[string][]Entry{"agent doctor": HostEntries(), "doctor": ClusterEntries()} {
		text, err := os.ReadFile(docs)
		require.NoError(t, err)
		begin, end := "<!-- checks of weir "+title+" -->\n", "<!-- end -->"
		head, rest, found := strings.Cut(string(text), begin)
		require.True(t, found, "%s lacks %s", docs, begin)
		table, tail, found := strings.Cut(rest, end)
		require.True(t, found)
		if *update {
			require.NoError(t, os.WriteFile(docs, []byte(head+begin+markdown(list)+end+tail), 0o644))
			continue
		}
		require.Equal(t, markdown(list), table, "go test ./internal/doctor -run TestDocs -update")
	}
}

func markdown(list []Entry) string {
	var b strings.Builder
	b.WriteString("| check | what is well | at worst |\n|---|---|---|\n")
	for _, e := range list {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", e.Name, e.About, e.Worst)
	}
	return b.String()
}
