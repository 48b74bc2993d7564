// Package leaks fails a package's tests when goroutines are left behind.
package leaks

import (
	"fmt"
	"os"
	"time"

	"go.uber.org/goleak"
)

// patience is how long what has been ended may take to end.
const patience = 20 * time.Second

// Main runs the tests of a package and does not return. It is goleak.VerifyTestMain, which gives goroutines less than half a
// second to end: a machine that stalls can take that from them.
func Main(m goleak.TestingM, o ...goleak.Option) {
	code := m.Run()
	if code == 0 {
		if err := left(patience, o...); err != nil {
			fmt.Fprintf(os.Stderr, "all tests passed, but %v\n", err)
			code = 1
		}
	}
	os.Exit(code)
}

// left waits until no goroutine is left, and tells of those that stay.
func left(patience time.Duration, o ...goleak.Option) error {
	for end := time.Now().Add(patience); ; {
		err := goleak.Find(o...) // this waits, too
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}
