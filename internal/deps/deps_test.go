// Package deps keeps the arrows between the packages: data goes down, and components meet in etcd, or ask each other over HTTP.
package deps

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/weir-lb/weir/"

// allowed says which of our packages each of them may import. A package that is not named here fails the test: give it a
// line, and with it a reason to exist.
var allowed = map[string][]string{
	"cluster":           {},
	"etcd":              {"cluster", "internal/plain"},
	"etcd/embedded":     {},
	"rules":             {"cluster"},
	"rules/ipt":         {"rules", "cluster", "internal/nfnetlink"},
	"rules/nft":         {"rules", "cluster", "internal/nfnetlink", "internal/underway"}, // cluster for the addresses in a Plan
	"rules/rulestest":   {"rules", "cluster"},
	"agent":             {"cluster", "rules", "internal/runner", "internal/conntrack"},
	"controlcenter":     {"cluster", "internal/plain"},
	"internal/plain":    {},
	"internal/door":     {"cluster", "internal/plain", "internal/runner"},
	"internal/runner":   {},
	"internal/ops":      {},
	"internal/lab":      {},
	"internal/underway": {},
	"internal/jump":     {}, // for tests
	"internal/leaks":    {}, // for tests
	"internal/stats":    {},
	"internal/deps":     {},
	"internal/hostile":  {},
	"internal/top":      {"cluster", "controlcenter", "loadmon", "internal/plain"},                 // the picture alone: it asks nobody
	"internal/status":   {"cluster", "controlcenter", "etcd", "internal/doctor", "internal/plain"}, // it puts together what they found
	"internal/describe": {"cluster", "controlcenter", "loadmon"},
	"internal/demo":     anything,
	"internal/doctor":   {"agent", "cluster", "controlcenter", "etcd", "rules", "rules/nft", "rules/ipt", "internal/plain"}, // it looks at what they hold, and decides nothing for them
	"cmd/weir":          anything,
	"integration":       anything,

	"internal/simulate":             {"cluster", "loadmon", "rules"},
	"loadmon":                       {"cluster", "internal/plain"},
	"loadmon/sample":                {"loadmon", "cluster", "internal/conntrack", "internal/netdump", "internal/runner", "internal/plain"},
	"loadmon/check":                 {"cluster", "internal/runner", "internal/plain"},
	"loadmon/monitor":               {"cluster", "loadmon", "loadmon/sample", "loadmon/check", "internal/door", "internal/runner"},
	"controlcenter/leader":          {"cluster", "loadmon", "internal/runner", "controlcenter/leader/watchman", "controlcenter/leader/foreman"},
	"controlcenter/leader/watchman": {"cluster", "internal/runner"},

	"launcher":                {"cluster", "internal/plain"},
	"launcher/launchertest":   {"launcher", "cluster"},
	"launcher/internal/turns": {},
	"launcher/process":        {"launcher", "launcher/process/shim", "launcher/internal/turns", "cluster", "internal/plain"},
	"launcher/process/shim":   {"launcher", "launcher/process/cgroup", "cluster", "internal/plain"},
	"launcher/process/cgroup": {},
	"launcher/external":       {"launcher", "cluster", "internal/plain"},
	"launcher/hook":           {"launcher", "launcher/internal/turns", "cluster", "internal/plain"},
	"launcher/allow":          {"launcher", "cluster", "internal/plain"},
	"launcher/logs":           {"launcher", "launcher/process/shim", "cluster", "internal/plain", "internal/runner"},
	"launcher/words":          {"cluster", "internal/plain"},
	"launcher/keep":           {"launcher", "cluster", "internal/runner", "internal/plain", "launcher/words"},

	"integration/bench":       anything,
	"rules/rulestest/traffic": {"rules", "rules/rulestest", "cluster", "internal/lab", "internal/knock"},
	"integration/chaos":       anything,
	"integration/chaos/suite": anything,
	"controlcenter/placement": {"cluster", "loadmon", "internal/plain"}, // for loadmon.Victims

	"controlcenter/leader/foreman": {"cluster", "controlcenter/placement", "loadmon", "internal/runner", "internal/plain"},
	"controlcenter/storetest":      {"controlcenter", "cluster"},
	"internal/conntrack":           {"internal/netdump", "internal/nfnetlink"},
	"internal/netdump":             {},
	"internal/nfnetlink":           {},
	"internal/testcerts":           {},                                // for tests
	"internal/knock":               {"cluster", "internal/nfnetlink"}, // cluster for frontends
}

var anything = []string{"*"}

// foreign libraries that only some packages may see: the kernel behind a driver, the store behind etcd.
var foreign = map[string][]string{
	"github.com/google/nftables":    {"rules/nft", "integration"},
	"github.com/coreos/go-iptables": {"rules/ipt"},
	"go.etcd.io/etcd/client/v3":     {"etcd", "integration"},
	"go.etcd.io/etcd/server/v3":     {"etcd/embedded"},
	"github.com/spf13/cobra":        {"cmd/weir"},
}

func TestArrows(t *testing.T) {
	for name, imports := range list(t) {
		may, known := allowed[name]
		if !known {
			t.Errorf("package %s is not in the list of packages", name)
			continue
		}
		for _, path := range imports {
			if ours, ok := strings.CutPrefix(path, module); ok && !slices.Equal(may, anything) && !slices.Contains(may, ours) {
				t.Errorf("%s must not import %s", name, ours)
			}
			for library, users := range foreign {
				if strings.HasPrefix(path, library) && !slices.Contains(users, name) {
					t.Errorf("%s must not import %s: only %v may", name, path, users)
				}
			}
		}
	}
}

// list is every package of ours with what it imports, tests left out.
func list(t *testing.T) map[string][]string {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.ImportPath}} {{join .Imports \" \"}}", module+"...").Output()
	require.NoError(t, err)
	packages := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		packages[strings.TrimPrefix(fields[0], module)] = fields[1:]
	}
	require.Contains(t, packages, "cluster")
	return packages
}
