package chaos

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestMutations keeps the mutations applicable: each text that one replaces is still there, once.
func TestMutations(t *testing.T) {
	for _, row := range Rows() {
		m := row.Mutation
		require.NotEmpty(t, m.Why, "row %s names no mutation", row.ID)
		source, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(m.File)))
		require.NoError(t, err, row.ID)
		assert.Equal(t, 1, strings.Count(string(source), m.Old), "row %s: %s no longer holds the text that its mutation replaces:\n%s", row.ID, m.File, m.Old)
		require.NotEqual(t, m.Old, m.New, row.ID)
		if m.Variant != (Variant{}) {
			require.Contains(t, row.Variants, m.Variant, row.ID)
		}
	}
}

// TestMutationsBuild compiles the mutations, as many of them together as touch different texts: one that does not compile
// would turn no row red.
func TestMutationsBuild(t *testing.T) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	require.NoError(t, err)
	for left := Rows(); len(left) > 0; {
		var rows []string
		mutated := map[string]string{} // file: source
		waiting := left[:0]
		for _, row := range left {
			if m := row.Mutation; m.apply(t, root, mutated) {
				rows = append(rows, row.ID)
			} else {
				waiting = append(waiting, row)
			}
		}
		left = waiting
		require.NotEmpty(t, rows, "a mutation replaces a text that is not there: see TestMutations")
		build := exec.Command("go", "list", "-export", "-overlay", overlay(t, mutated), "./...") // as go build, and nothing is linked
		build.Dir = root
		said, err := build.CombinedOutput()
		require.NoError(t, err, "with the mutations of %v: %s", rows, said)
	}
}

// apply mutates one of the files; false: another mutation has changed that text.
func (m Mutation) apply(t *testing.T, root string, files map[string]string) bool {
	t.Helper()
	name := filepath.Join(root, filepath.FromSlash(m.File))
	if strings.Count(files[name], m.Old) == 0 && strings.Contains(files[name], m.New) && m.New != "" {
		return true // another row has the same mutation
	}
	source, there := files[name]
	if !there {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		source = string(text)
	}
	if strings.Count(source, m.Old) != 1 {
		return false
	}
	files[name] = strings.Replace(source, m.Old, m.New, 1)
	return true
}

// overlay writes sources to where go build finds them in place of the files.
func overlay(t *testing.T, sources map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	replace := map[string]string{}
	for name, source := range sources {
		file, err := os.CreateTemp(dir, "*.go")
		require.NoError(t, err)
		_, err = file.WriteString(source)
		require.NoError(t, err)
		require.NoError(t, file.Close())
		replace[name] = file.Name()
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	require.NoError(t, err)
	name := filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(name, text, 0o600))
	return name
}
