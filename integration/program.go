package integration

import (
	"fmt"
	"os/exec"

	"github.com/stretchr/testify/require"
)

// Build makes the weir binary of this checkout.
func Build(out string, flags ...string) error {
	args := append([]string{"build", "-o", out}, append(flags, "github.com/weir-lb/weir/cmd/weir")...)
	if said, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("go %v: %w\n%s", args, err, said)
	}
	return nil
}

// BuildEtcd makes the etcd server of the version that this module embeds, as a program of its own.
func BuildEtcd(out string) error {
	if said, err := exec.Command("go", "build", "-o", out, "go.etcd.io/etcd/server/v3").CombinedOutput(); err != nil {
		return fmt.Errorf("go build etcd: %w\n%s", err, said)
	}
	return nil
}

// Weir runs a command of the program and returns what it prints.
func (w *World) Weir(args ...string) string {
	w.t.Helper()
	out, err := exec.Command(w.o.Program, append(args, "--etcd", w.Endpoint())...).Output()
	require.NoError(w.t, err)
	return string(out)
}
