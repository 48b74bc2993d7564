package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter/storetest"
	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/internal/top"
)

func TestTopUsage(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"top a", "top --interval=1ms", "top --sort=size", "top -o yaml"} {
		r := weir(t, newFake(), strings.Fields(args)...)
		require.Equal(t, []any{2, ""}, []any{r.code, r.out}, args)
	}
	for _, args := range []string{"top", "top --once"} {
		f := newFake()
		f.Fail(storetest.ErrUnreachable)
		require.Equal(t, 5, weir(t, f, strings.Fields(args)...).code, args)
	}
}

func TestTopAsText(t *testing.T) {
	t.Parallel()
	f := cast(t)
	f.repairs = map[string]cluster.Repairs{"n1": {Count: 30}}
	r := weir(t, f, "top", "--once", "--sort", "name")
	require.Equal(t, 0, r.code, r.err)
	require.Equal(t, "weir  12:00:00Z  2 services (1 degraded, 1 empty)  2/3 instances taking  - new/s  2 nodes  revision 104\n"+
		"note: loads are not shown: no node that could know them tells where its load monitor answers\n\n"+
		"NODE  STATE  CPU  MEMORY  CONNTRACK  NEW/S  INSTANCES  APPLIED  LAG  REPAIRS  PROBLEMS  LOADS\n"+
		"n1    alive    -       -          -      -          1      104    0       30         0  none\n"+
		"n2    alive    -       -          -      -          0      104    0        0         0  none\n\n"+
		"SERVICE           NODE  STATE          WANT  HAVE  DRIFT  NEW/S  ACTIVE  BUSY  LATENCY\n"+
		"a                       degraded 2/3                   -      -       -     -        -\n"+
		"  192.168.1.1:80  n1    dead           0.0%     -      -      -       -     -        -\n"+
		"  192.168.1.2:80  -     serving       50.0%     -      -      -       -     -        -\n"+
		"  192.168.1.3:80  -     serving       50.0%     -      -      -       -     -        -\n"+
		"b                       empty 0/0                      -      -       -     -        -\n", r.out)
}

// What may not be read, is away or is held back stands above the rest.
func TestTopTellsWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	f := cast(t)
	f.denied = fmt.Errorf("read the repairs: %w", cluster.ErrDenied)
	f.status = etcd.Status{Since: noon, LastError: "connection refused"}
	f.Edit(func(d *cluster.Draft) { d.Held(&cluster.Held{Deleted: 12, Reason: "no net/ready"}) })
	r := weir(t, f, "top", "--once")
	require.Equal(t, 0, r.code, r.err)
	require.Contains(t, r.out, "note: etcd does not answer since 12:00:00Z, and what it says is from then: connection refused\n")
	require.Contains(t, r.out, "note: the deletion of 12 services is held back: no net/ready: see weir guard\n")
	require.Contains(t, r.out, "note: read the repairs: ")
	require.Contains(t, r.out, "192.168.1.1:80")
}

// Through a pipe one picture follows the other, each a document, with what has changed, until whoever reads has gone.
func TestTopFollows(t *testing.T) {
	t.Parallel()
	c := ward(t)
	reader, writer := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		line := []string{"weir", "--etcd", c.endpoint, "top", "-o", "json", "--interval", "100ms"}
		code := newApp(strings.NewReader(""), writer, io.Discard).execute(ctx, line)
		_ = writer.CloseWithError(fmt.Errorf("left with %d", code))
	})
	lines := bufio.NewReader(reader)
	until := func(what string, good func(top.Frame) bool) {
		t.Helper()
		for limit := time.Now().Add(20 * time.Second); ; {
			line, err := lines.ReadBytes('\n')
			require.NoError(t, err)
			var f top.Frame
			require.NoError(t, json.Unmarshal(line, &f), "%s", line)
			if good(f) {
				return
			}
			require.True(t, time.Now().Before(limit), "%s: %s", what, line)
		}
	}
	until("rates", func(f top.Frame) bool { return f.Services[0].NewPerS != nil && f.Services[0].Drift != nil })
	s := c.store(t, etcd.Config{})
	put(t, s, "net/admin/a/192.168.1.2:80", cluster.Admin{Drain: true})
	until("the drain", func(f top.Frame) bool {
		return f.Services[0].Instances[1].State == cluster.Draining && f.Services[0].Taking == 1
	})
	put(t, s, "ops/repairs/n1", cluster.Repairs{Count: 4})
	require.NoError(t, s.Join(t.Context(), "n5", &cluster.Node{}))
	until("a node and its repairs", func(f top.Frame) bool {
		got := map[string]top.Node{}
		for _, n := range f.Nodes {
			got[n.Name] = n
		}
		return got["n1"].Repairs == 4 && got["n5"].Name == "n5" && got["n1"].State == "alive"
	})
	cancel()
	_, err := io.Copy(io.Discard, lines)
	require.EqualError(t, err, "left with 0")
	running.Wait()
}

func TestTopEndsWithItsReader(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"text", "json"} {
		a := newApp(strings.NewReader(""), gone{}, &strings.Builder{})
		o := &topOptions{app: a, interval: time.Hour, order: "rate", output: outputFlag{format: format}}
		require.ErrorContains(t, runTop(t.Context(), o, cast(t)), "broken pipe")
	}
}

// pty is a terminal of its own, and its other side.
func pty(t *testing.T, columns, rows uint16) (terminal, behind *os.File) {
	t.Helper()
	behind, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = behind.Close() })
	require.NoError(t, unix.IoctlSetPointerInt(int(behind.Fd()), unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(int(behind.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = terminal.Close() })
	require.NoError(t, unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows}))
	return terminal, behind
}

// display is what somebody in front of a terminal would see: only what weir top tells a terminal is understood.
type display struct {
	mu   sync.Mutex
	text []byte
}

func (d *display) read(from *os.File) {
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		d.mu.Lock()
		d.text = append(d.text, buffer[:n]...)
		d.mu.Unlock()
		if err != nil {
			return
		}
	}
}

var control = regexp.MustCompile(`\x1b\[[?0-9;]*[a-zA-Z]`)

// last is the newest whole picture, without what moves the screen.
func (d *display) last() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := string(d.text)
	end := strings.LastIndex(all, clearBelow)
	if end < 0 {
		return ""
	}
	begin := strings.LastIndex(all[:end], goHome)
	return control.ReplaceAllString(all[begin:end], "")
}

func (d *display) all() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return string(d.text)
}

// In a terminal the picture fits, keys are obeyed at once, and what was there before is there again.
func TestTopInATerminal(t *testing.T) {
	t.Parallel()
	f := cast(t)
	for i := range 30 {
		f.Put(t, storetest.Service(t, fmt.Sprintf("more%d", i), fmt.Sprintf("10.10.2.%d:80", i+1), "192.168.1.2:80"))
	}
	tty, behind := pty(t, 70, 20)
	before, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	require.NoError(t, err)
	seen := &display{}
	go seen.read(behind)
	a := newApp(tty, tty, io.Discard)
	a.open = func(context.Context, etcdFlags) (store, error) { return f, nil }
	code := make(chan int)
	go func() { code <- a.execute(t.Context(), []string{"weir", "top", "--interval", "1h"}) }()
	shows := func(text string) {
		t.Helper()
		require.Eventually(t, func() bool { return strings.Contains(seen.last(), text) }, 20*time.Second, 5*time.Millisecond, text)
	}
	press := func(keys string) {
		_, err := behind.WriteString(keys)
		require.NoError(t, err)
	}
	shows("more services\r\nq quit  s order: rate")
	lines := strings.Split(seen.last(), "\r\n")
	require.LessOrEqual(t, len(lines), 20)
	for _, line := range lines {
		require.LessOrEqual(t, len([]rune(line)), 70, line)
	}
	press("s")
	shows("s order: busy")
	press("xSS")
	shows("s order: status")
	require.Regexp(t, `(?s)SERVICE.*?\r\na +`, seen.last(), "the degraded one first")
	press("n")
	require.Eventually(t, func() bool { return !strings.Contains(seen.last(), "SERVICE") }, 20*time.Second, 5*time.Millisecond)
	require.NoError(t, unix.IoctlSetWinsize(int(tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: 40, Row: 5}))
	press("n")
	require.Eventually(t, func() bool { return strings.Count(seen.last(), "\r\n") < 5 }, 20*time.Second, 5*time.Millisecond)
	press("q")
	require.Equal(t, 0, <-code)
	after, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	require.NoError(t, err)
	require.Equal(t, before, after)
	require.Eventually(t, func() bool { return strings.HasSuffix(seen.all(), leaveScreen) }, 20*time.Second, 5*time.Millisecond)
	require.True(t, strings.HasPrefix(seen.all(), enterScreen))
}

// A terminal that hangs up, and an interrupt, end it, too.
func TestTopEndsWithItsTerminal(t *testing.T) {
	t.Parallel()
	show := func(ctx context.Context, args ...string) (behind *os.File, code chan int) {
		tty, behind := pty(t, 70, 20)
		a := newApp(tty, tty, io.Discard)
		a.open = func(context.Context, etcdFlags) (store, error) { return cast(t), nil }
		code = make(chan int, 1)
		go func() { code <- a.execute(ctx, append([]string{"weir", "top"}, args...)) }()
		_, err := behind.Read(make([]byte, 1)) // it shows something
		require.NoError(t, err)
		return behind, code
	}
	ctx, interrupt := context.WithCancel(t.Context())
	_, code := show(ctx)
	interrupt()
	require.Equal(t, 0, <-code)

	behind, code := show(t.Context(), "--interval", "100ms")
	require.NoError(t, behind.Close())
	<-code // what it ends with depends on whether it was reading or writing
}

func TestTerminalOnlyWhereThereIsOne(t *testing.T) {
	t.Parallel()
	tty, _ := pty(t, 80, 24)
	file, err := os.Create(t.TempDir() + "/file")
	require.NoError(t, err)
	defer file.Close()
	require.NotNil(t, terminal(tty, &safeWriter{w: tty}))
	require.Nil(t, terminal(tty, &safeWriter{w: file}))
	require.Nil(t, terminal(file, tty))
	require.Nil(t, terminal(tty, &bytes.Buffer{}))
	require.Nil(t, terminal(strings.NewReader(""), tty))
	_, err = (&screen{in: file}).rawKeys()
	require.ErrorIs(t, err, unix.ENOTTY)
}
