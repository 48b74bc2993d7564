package lab

import (
	"os"
	"strings"
)

// TB is the part of testing.TB that Test uses; with it the demo does not link the testing package.
type TB interface {
	Helper()
	Name() string
	Cleanup(func())
	Skipf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Test returns a lab that is closed when the test ends. It skips the test only where the process is not root.
func Test(t TB) *Lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skipf("not root: network namespaces cannot be made (try `sudo go test` or `unshare -rn`)")
	}
	l, err := New(shortName(t.Name()))
	if err != nil {
		t.Fatalf("lab: %v", err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close lab: %v", err)
		}
	})
	return l
}

// shortName makes a lab name out of a test's: TestFlood/tcp becomes floodtcp.
func shortName(test string) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, strings.ToLower(strings.TrimPrefix(test, "Test")))
	if name == "" {
		return "test"
	}
	return name[:min(len(name), 24)]
}
