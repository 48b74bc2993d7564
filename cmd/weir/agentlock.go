package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
)

// lockNode makes sure that one agent at a time works in a network namespace. An abstract socket is just that: one for
// each name and namespace, and gone with its process.
func lockNode() (io.Closer, error) {
	l, err := net.Listen("unix", "@weir-agent")
	if err != nil {
		return nil, lockError(err)
	}
	return l, nil
}

// errSecondAgent says nothing of the tables: whose they are, the lock does not know.
var errSecondAgent = errors.New("another weir agent runs in this network namespace: stop it first")

func lockError(err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return errSecondAgent
	}
	return fmt.Errorf("make sure that no other agent runs in this network namespace: %w", err)
}
