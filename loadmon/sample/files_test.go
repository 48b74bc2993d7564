package sample

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	long := strings.Repeat("0123456789abcdef", 5000) // more than the buffer holds at first
	for name, text := range map[string]string{"long": long, "empty": "", "number": "42\n", "keys": "ab 1\na 7\nb\nc x\n"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	var f files
	for range 2 {
		for name, want := range map[string]string{"long": long, "empty": "", "number": "42\n"} {
			got, err := f.read(filepath.Join(dir, name))
			require.NoError(t, err)
			require.Equal(t, want, string(got))
		}
	}
	n, err := f.number(filepath.Join(dir, "number"))
	require.NoError(t, err)
	require.Equal(t, int64(42), n)
	n, err = f.value(filepath.Join(dir, "keys"), "a")
	require.NoError(t, err)
	require.Equal(t, int64(7), n)
	for _, key := range []string{"b", "z"} {
		_, err = f.value(filepath.Join(dir, "keys"), key)
		require.ErrorIs(t, err, os.ErrNotExist, key)
	}
	_, err = f.value(filepath.Join(dir, "keys"), "c")
	require.ErrorContains(t, err, "invalid syntax")
	for _, name := range []string{"nothing", "."} { // the latter opens, and cannot be read
		_, err = f.read(filepath.Join(dir, name))
		var path *os.PathError
		require.ErrorAs(t, err, &path)
		_, err = f.number(filepath.Join(dir, name))
		require.Error(t, err)
		_, err = f.value(filepath.Join(dir, name), "a")
		require.Error(t, err)
	}
}

func TestMemo(t *testing.T) {
	t.Parallel()
	var m memo[int]
	reads := 0
	get := func(key string, at time.Time) int {
		return m.get(key, at, time.Minute, func() int { reads++; return reads })
	}
	now := time.Now()
	require.Equal(t, []int{1, 2, 1, 2}, []int{get("a", now), get("b", now), get("a", now), get("b", now.Add(59*time.Second))})
	require.Equal(t, 3, get("a", now.Add(time.Minute)))
	require.Len(t, m.values, 1, "what is old goes, whoever it was of")
}
