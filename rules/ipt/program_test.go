package ipt

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/internal/lab"
	"github.com/weir-lb/weir/rules"
	"github.com/weir-lb/weir/rules/rulestest"
)

// host is a PATH with nothing in it but the programs of one variant, which a test may replace.
func host(t *testing.T, v Variant) (dir string) {
	dir = t.TempDir()
	for _, f := range families {
		for _, suffix := range []string{"", "-save", "-restore"} {
			name := f.program + "-" + string(v) + suffix
			real, err := exec.LookPath(name)
			require.NoError(t, err)
			require.NoError(t, os.Symlink(real, filepath.Join(dir, name)))
		}
	}
	t.Setenv("PATH", dir)
	return dir
}

// replace puts a script in the place of a program. PATH is as narrow for it as for us.
func replace(t *testing.T, dir, name, script string) {
	path := filepath.Join(dir, name)
	require.NoError(t, os.RemoveAll(path))
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755))
}

func story() *rules.Ruleset {
	return rulestest.Ruleset(rules.Options{NoTables: true},
		rulestest.Service("a", "10.10.1.1 fd10::1", 80, "192.168.10.1:8080", "192.168.10.2:8080*3", "[fd00::1]:8080"),
		rulestest.Service("b", "10.10.1.2", 80))
}

func TestMissingPrograms(t *testing.T) {
	ns := rulestest.Namespace(t)
	dir := host(t, NFT)
	for _, v := range []Variant{Auto, Legacy} {
		t.Setenv("PATH", t.TempDir())
		d := open(v, ns)
		_, err := d.Read(t.Context())
		require.ErrorContains(t, err, "install the package iptables")
		require.ErrorIs(t, err, exec.ErrNotFound)
		require.ErrorIs(t, d.Clean(t.Context()), exec.ErrNotFound)
		require.ErrorContains(t, d.Apply(t.Context(), &rules.Plan{}), "install the package iptables")
		if v == Auto { // once they are there, the same driver works
			t.Setenv("PATH", dir)
			rulestest.Install(t, d, story())
			require.Equal(t, NFT, d.Variant())
		}
	}
}

func TestProgramsThatDoNotServe(t *testing.T) {
	ns := rulestest.Namespace(t)
	for _, c := range []struct{ name, script, want string }{
		{"too old", `echo "iptables v1.4.21"`, "is version 1.4.21, which is too old: 1.8 or newer is needed"},
		{"of the other variant", `echo "iptables v1.8.9 (legacy)"`, "is of another variant"},
		{"not iptables", `echo hello`, "which is no version of iptables"},
		{"failing", `echo "cannot do that" >&2; exit 3`, "cannot do that"},
		{"hanging", `while :; do :; done`, "does not end within"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := host(t, NFT)
			replace(t, dir, "iptables-nft", c.script)
			replace(t, dir, "iptables", c.script)
			d := open(NFT, ns)
			if c.name == "hanging" {
				d.limit = time.Second
			}
			_, err := d.Read(t.Context())
			require.ErrorContains(t, err, c.want)
		})
	}
}

// A restore that hangs is ended, with whatever it started, and what it may have written is not believed.
func TestHangingRestore(t *testing.T) {
	ns := rulestest.Namespace(t)
	sleep, err := exec.LookPath("sleep")
	require.NoError(t, err)
	dir := host(t, NFT)
	replace(t, dir, "iptables-nft-restore", sleep+" 600 & echo $! > "+dir+"/child; wait")
	d := open(NFT, ns)
	have, err := d.Read(t.Context())
	require.NoError(t, err)
	d.limit = 2 * time.Second // in which it has begun, however slow this machine is
	elapsed := lab.Pulse(t)
	err = d.Apply(t.Context(), rules.Diff(have, story()))
	require.ErrorContains(t, err, "does not end within 2s")
	require.Less(t, elapsed(), 5*time.Second)
	var child int
	text, err := os.ReadFile(filepath.Join(dir, "child"))
	require.NoError(t, err)
	_, err = fmt.Sscan(string(text), &child)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return gone(child) }, 20*time.Second, 10*time.Millisecond, "the child lives on")
}

// gone says whether a process has ended, also where nobody has waited for it yet.
func gone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	var name, state string
	_, _ = fmt.Sscanf(string(stat), "%d %s %s", new(int), &name, &state)
	return err != nil || state == "Z"
}

// Somebody else holds the lock of all iptables programs for longer than we wait.
func TestLock(t *testing.T) {
	ns := rulestest.Namespace(t)
	path := filepath.Join(t.TempDir(), "lock")
	t.Setenv("XTABLES_LOCKFILE", path)
	lock, err := os.Create(path)
	require.NoError(t, err)
	defer lock.Close()
	require.NoError(t, unix.Flock(int(lock.Fd()), unix.LOCK_EX))
	d := open(Legacy, ns)
	d.lock = 1
	have, err := d.Read(t.Context())
	require.NoError(t, err)
	plan := rules.Diff(have, story())
	err = d.Apply(t.Context(), plan)
	require.ErrorContains(t, err, "xtables lock")
	require.ErrorContains(t, err, "see which program holds the lock")
	require.NotErrorIs(t, err, rules.ErrRejected)
	require.NoError(t, unix.Flock(int(lock.Fd()), unix.LOCK_UN))
	require.NoError(t, d.Apply(t.Context(), plan))
}

func TestNoPermission(t *testing.T) {
	setpriv, err := exec.LookPath("setpriv")
	require.NoError(t, err)
	for _, v := range variants {
		ns := rulestest.Namespace(t)
		rulestest.Install(t, open(v, ns), story()) // so that there is a table to ask for
		dir := host(t, v)
		for _, f := range families {
			name := f.program + "-" + string(v) + "-save"
			real, err := os.Readlink(filepath.Join(dir, name))
			require.NoError(t, err)
			replace(t, dir, name, "exec "+setpriv+" --bounding-set -net_admin --inh-caps -net_admin "+real+" \"$@\"")
		}
		_, err := open(v, ns).Read(t.Context())
		require.ErrorIs(t, err, rules.ErrPermission, v)
		require.ErrorContains(t, err, "CAP_NET_ADMIN")
		t.Setenv("PATH", filepath.Dir(setpriv)+":/usr/sbin:/sbin:/bin")
	}
}

// What iptables does not take harms only its own frontend.
func TestQuarantine(t *testing.T) {
	t.Parallel()
	for _, v := range variants {
		ns := rulestest.Namespace(t)
		d := open(v, ns)
		want := story()
		edit := want.Balancers.Edit()
		bad := rulestest.Frontend("10.10.1.9:80")
		edit.Set(bad, &rules.Balancer{Service: "bad", Mode: rules.Random, Shares: []rules.Share{{Target: netip.MustParseAddrPort("[fd00::1]:80"), Slots: 1}}})
		want.Balancers = edit.Map()
		have, err := d.Read(t.Context())
		require.NoError(t, err)
		have = rulestest.Settle(t, d, have, want)
		require.Len(t, have.Quarantined(), 1)
		require.Contains(t, have.Quarantined()[bad].Reason, "iptables")
		now, err := d.Read(t.Context())
		require.NoError(t, err)
		require.Len(t, now.Placed, 3, "the others are there")
		require.Empty(t, now.Damage)
	}
}
