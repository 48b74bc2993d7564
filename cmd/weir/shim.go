package main

import (
	"fmt"
	"io"

	"github.com/weir-lb/weir/launcher/process/shim"
)

// shimName is the command that a launcher starts beside each instance. It is no command for people, so that it is not among
// them: it does without flags, completion and their memory, of which there would be one copy for each instance.
const shimName = "shim"

func runShim(dir string, talk io.Writer) int {
	if err := shim.Run(dir); err != nil {
		fmt.Fprintf(talk, "error: %v\n", err)
		return 1
	}
	return 0
}
