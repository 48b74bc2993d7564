package ipt

import (
	"flag"
	"testing"
)

// TestMain lets more tests run at once than there are cores: each has a namespace of its own, and mostly waits for the kernel.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	m.Run()
}
