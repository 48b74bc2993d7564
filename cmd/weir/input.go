package main

import (
	"fmt"
	"io"
	"os"

	"github.com/weir-lb/weir/cluster"
)

// read reads a file, or standard input for "-", and not more than one byte past what may be accepted.
func (a *app) read(file string) (name string, data []byte, err error) {
	in, name := a.in, "stdin"
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return file, nil, fmt.Errorf("read the file: %w", err)
		}
		defer f.Close()
		in, name = f, file
	}
	data, err = io.ReadAll(io.LimitReader(in, cluster.MaxFileBytes+1))
	if err != nil {
		return name, nil, fmt.Errorf("read %s: %w", name, err)
	}
	return name, data, nil
}
