package shim

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/launcher"
)

func record(n int) Record {
	return Record{
		Boot: "b", Shim: Process{1, 2}, Instance: Process{3, 4}, State: launcher.Running, Starts: n, Started: time.Unix(int64(n), 0).UTC(),
		Exits: []launcher.Exit{{At: time.Unix(1, 0).UTC(), Code: n}}, Output: []string{strings.Repeat("\x00é", n%100)},
	}
}

func TestSlots(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := ReadRecord(dir)
	require.True(t, IsNoRecord(err))
	s, before, err := openSlots(dir)
	require.NoError(t, err)
	require.Zero(t, before)
	_, err = ReadRecord(dir)
	require.True(t, IsNoRecord(err), "reserved and empty")
	for n := 1; n <= 5; n++ {
		require.NoError(t, s.save(record(n)))
		got, err := ReadRecord(dir)
		require.NoError(t, err)
		want := record(n)
		want.Sequence = uint64(n)
		require.Equal(t, want, got)
	}
	// A write that was cut short costs that one record.
	name := filepath.Join(dir, slotName(1))
	whole, err := os.ReadFile(name)
	require.NoError(t, err)
	for _, cut := range []int{0, 5, 20, 100} {
		torn := append([]byte(nil), whole...)
		for i := cut; i < cut+50; i++ {
			torn[i] ^= 0x55
		}
		require.NoError(t, os.WriteFile(name, torn, 0o600))
		got, err := ReadRecord(dir)
		require.NoError(t, err)
		require.Equal(t, 4, got.Starts, "cut at %d", cut)
	}
	s, before, err = openSlots(dir)
	require.NoError(t, err)
	require.Equal(t, 4, before.Starts)
	require.NoError(t, s.save(record(9)))
	got, err := ReadRecord(dir)
	require.NoError(t, err)
	require.Equal(t, 9, got.Starts, "the torn one is written over")
	for i := range 2 {
		info, err := os.Stat(filepath.Join(dir, slotName(i)))
		require.NoError(t, err)
		require.EqualValues(t, slotSize, info.Size())
	}
}

// The last lines are the first to go when a record does not fit.
func TestRecordTooLarge(t *testing.T) {
	t.Parallel()
	r := record(1)
	for range tailLines {
		r.Output = append(r.Output, strings.Repeat("\"", tailLength*3))
	}
	slot, err := encodeSlot(r)
	require.NoError(t, err)
	got, ok := decodeSlot(slot)
	require.True(t, ok)
	require.Less(t, len(got.Output), len(r.Output))
	require.Equal(t, r.Exits, got.Exits)
	r.Boot = strings.Repeat("x", slotSize)
	_, err = encodeSlot(r)
	require.ErrorContains(t, err, "a record of")
}

func FuzzDecodeSlot(f *testing.F) {
	slot, err := encodeSlot(record(3))
	require.NoError(f, err)
	f.Add(slot)
	f.Add([]byte("00000000 0\n"))
	f.Add([]byte("00000000 -1\n"))
	f.Fuzz(func(t *testing.T, slot []byte) {
		if r, ok := decodeSlot(slot); ok {
			again, err := encodeSlot(r)
			require.NoError(t, err)
			got, ok := decodeSlot(again)
			require.True(t, ok)
			require.Equal(t, r.Sequence, got.Sequence)
		}
	})
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("17 (a b) c)) S 1 17 18 0 -1 4194304 1 0 0 0 250 50 7 7 20 0 1 0 99 1 1\n"))
	f.Add([]byte(")"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := parseStat(text)
		require.True(t, err != nil || s.state != 0)
	})
}

func TestParseStat(t *testing.T) {
	t.Parallel()
	s, err := parseStat([]byte("17 (a b) c)) S 1 17 18 0 -1 4194304 1 0 0 0 250 50 7 7 20 0 1 0 99 1 1\n"))
	require.NoError(t, err)
	require.Equal(t, stat{'S', 1, 18, 99}, s)
	_, err = parseStat([]byte("17 (a) S 1"))
	require.ErrorContains(t, err, "2 fields")
}

func TestProcess(t *testing.T) {
	t.Parallel()
	self, err := Find(os.Getpid())
	require.NoError(t, err)
	require.True(t, self.Alive())
	require.NoError(t, self.Signal(0))
	other := self
	other.Start--
	require.False(t, other.Alive())
	require.ErrorIs(t, other.Signal(0), os.ErrProcessDone)
	require.ErrorIs(t, Process{}.Signal(0), os.ErrProcessDone)
	_, err = Find(1 << 30)
	require.True(t, errors.Is(err, os.ErrNotExist))
	require.NotEmpty(t, BootID())
}

func TestGrace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o := Order{Spec: launcher.Spec{ID: "a", Service: "s"}}
	require.Equal(t, launcher.DefaultGrace, readGrace(dir, o.Spec))
	require.NoError(t, WriteOrder(dir, o))
	require.Equal(t, launcher.DefaultGrace, readGrace(dir, o.Spec))
	for _, grace := range []time.Duration{0, time.Hour, 1234567 * time.Nanosecond, 5 * time.Second} {
		require.NoError(t, WriteGrace(dir, grace))
		require.Equal(t, grace, readGrace(dir, o.Spec))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, graceFile), []byte("soon"), 0o600))
	require.Equal(t, launcher.DefaultGrace, readGrace(dir, o.Spec))
	got, err := ReadOrder(dir)
	require.NoError(t, err)
	require.Equal(t, o, got)
	require.NoError(t, os.WriteFile(filepath.Join(dir, orderFile), []byte("{"), 0o600))
	_, err = ReadOrder(dir)
	require.ErrorContains(t, err, orderFile)
	require.NoError(t, os.Remove(filepath.Join(dir, orderFile)))
	require.NoError(t, os.Symlink("/etc/hostname", filepath.Join(dir, orderFile)))
	_, err = ReadOrder(dir)
	require.ErrorContains(t, err, "too many levels", "a link is not followed")
}
