package process_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/weir-lb/weir/launcher/process/shim"
)

// This program is its own shim, as weir is.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "shim" {
		if err := shim.Run(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) == 4 && os.Args[1] == "launch" {
		launch(os.Args[2], os.Args[3])
	}
	os.Exit(m.Run())
}
