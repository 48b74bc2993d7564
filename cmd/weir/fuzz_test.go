package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// lines are command lines with places for foreign words. None of them opens a file or a socket.
var lines = []string{
	"controlcenter publish %1 --vip=%2 --port=%3 --instance=%4 --no-wait",
	"controlcenter plan %1 --vip=%2 --instance=%4 --detailed-exitcode",
	"controlcenter withdraw %1 --no-wait",
	"controlcenter drain %1 %2 --reason=%3 --no-wait",
	"controlcenter weight %1 %2 %3 --no-wait",
	"get services %1 -o %2",
	"get instances %1 --sample=0",
	"guard accept --revision=%1",
	"rbac %1 %2",
	"%1 %2",
	"controlcenter %1 --%2",
	"completion %1",
	"__complete get instances %1",
	"doctor --check=%1 -o %2",
}

// FuzzArguments runs commands with foreign words in them. They end with an exit code that the help names, and nothing of
// what they print is obeyed by a terminal.
func FuzzArguments(f *testing.F) {
	for i := range lines {
		f.Add(i, "a", "10.10.1.1:80", "53/udp", "192.168.10.1:80=3")
		f.Add(i, "\x1b[31m", "\u202e", "-1", "\x00")
		f.Add(i, "../a", "[fe80::1%\x1b]:80", "99999999999999999999", "10.0.0.1:1=NaN")
	}
	f.Fuzz(func(t *testing.T, line int, one, two, three, four string) {
		var args []string
		words := strings.NewReplacer("%1", one, "%2", two, "%3", three, "%4", four)
		for word := range strings.FieldsSeq(lines[int(uint(line)%uint(len(lines)))]) {
			args = append(args, words.Replace(word))
		}
		if reaching(args) {
			return
		}
		var out, talk bytes.Buffer
		a := newApp(strings.NewReader(""), &out, &talk)
		a.open = func(context.Context, etcdFlags) (store, error) { return newFake(), nil }
		code := a.execute(t.Context(), append([]string{"weir"}, args...))
		require.True(t, code >= 0 && code <= 7, "%d", code)
		requireHarmless(t, out.String()+talk.String())
	})
}

// reaching: these words lead to work on this machine, which a fuzzer must not do.
func reaching(args []string) bool {
	for _, word := range []string{"agent", "up", "demo", "explain", "rules"} {
		if args[0] == word {
			return true
		}
	}
	for _, arg := range args {
		if strings.HasPrefix(arg, "-") && (strings.Contains(arg, "f") || strings.Contains(arg, "timeout")) && !strings.HasPrefix(arg, "--reason=") {
			return true
		}
	}
	return false
}

// requireHarmless wants text that no terminal obeys.
func requireHarmless(t *testing.T, text string) {
	t.Helper()
	require.True(t, utf8.ValidString(text), "%q", text)
	obeyed := func(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsGraphic(r) }
	if at := strings.IndexFunc(text, obeyed); at >= 0 {
		require.Failf(t, "a terminal obeys it", "%q in %q", text[at:min(at+20, len(text))], text)
	}
}

// FuzzSafeWriter writes foreign bytes in two parts, as buffers happen to end.
func FuzzSafeWriter(f *testing.F) {
	f.Add([]byte("plain"), []byte("\x1b[2J"))
	f.Add([]byte("\xe2\x80"), []byte("\xae"))
	f.Add([]byte("\xff"), []byte("\xc2\x9b31m"))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		var parts, whole bytes.Buffer
		w := &safeWriter{w: &parts}
		for _, p := range [][]byte{first, second} {
			n, err := w.Write(p)
			require.NoError(t, err)
			require.Equal(t, len(p), n)
		}
		_, err := (&safeWriter{w: &whole}).Write(append(append([]byte(nil), first...), second...))
		require.NoError(t, err)
		require.Equal(t, whole.String(), parts.String())
		requireHarmless(t, whole.String())
	})
}

func FuzzKeepSource(f *testing.F) {
	f.Add("10.0.0.0/8,fd00::/8")
	f.Add("10.0.0.1/8")
	f.Add(",")
	f.Fuzz(func(t *testing.T, text string) {
		var k, again keepSourceFlag
		if k.Set(text) == nil {
			require.NoError(t, again.Set(k.String()))
			require.Equal(t, k, again)
		}
	})
}
