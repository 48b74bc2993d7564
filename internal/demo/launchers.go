package demo

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/weir-lb/weir/internal/lab"
)

// startLaunchers starts one on each node, and returns once all of them can launch.
func (s *stage) startLaunchers(ctx context.Context) error {
	command, err := lab.LaunchedCommand()
	if err != nil {
		return err
	}
	// What the owner of a node would write into /etc/weir/launcher.yaml. The directory was made by root, for root.
	allowed := fmt.Sprintf("drivers: [process]\nusers: [root]\nservices: [%s]\npaths: [%q]\n", launchedService, command[0])
	if err := os.WriteFile(s.allowed(), []byte(allowed), 0o600); err != nil {
		return err
	}
	for i := range nodes {
		if err := s.startLauncher(i); err != nil {
			return err
		}
	}
	return s.awaitLaunchers(ctx, nodes)
}

func (s *stage) allowed() string { return filepath.Join(s.dir, "launcher.yaml") }

func launcherName(i int) string { return nodeName(i) + "-launcher" }

func (s *stage) startLauncher(i int) error {
	host := s.cluster.Nodes[i]
	// Without control groups: those of two demos would have the same names.
	return s.start(launcherName(i), host, []string{
		"launcher", "--node", nodeName(i), "--list", s.allowed(), "--state-dir", filepath.Join(s.dir, launcherName(i)),
		"--node-ip", host.Addr4.String(), "--etcd", s.endpoint(), insecure, "--cgroup", "", "--listen", "127.0.0.1:9650",
		"--logs-listen", netip.AddrPortFrom(host.Addr4, 9651).String(),
	})
}

// awaitLaunchers waits until so many nodes can launch instances.
func (s *stage) awaitLaunchers(ctx context.Context, want int) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		ops, err := s.store.Operations(ctx)
		if err == nil && len(ops.Launchers) >= want {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("wait for %d launchers: %w; agents and launchers said last:\n%s", want, ctx.Err(), s.last(5))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// killNode has a node lose its power: everything that runs there is gone at once, and its cable is dead.
func (s *stage) killNode(i int) error {
	host := s.cluster.Nodes[i]
	if err := s.cluster.Switch.Plug(host.Namespace, false); err != nil {
		return err
	}
	if err := host.Kill(); err != nil {
		return err
	}
	s.bury(nodeName(i))
	s.bury(launcherName(i))
	return nil
}

// bootNode has it come back.
func (s *stage) bootNode(i int) error {
	if err := s.cluster.Switch.Plug(s.cluster.Nodes[i].Namespace, true); err != nil {
		return err
	}
	if err := s.startAgent(i); err != nil {
		return err
	}
	return s.startLauncher(i)
}
