package chaos

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/integration"
)

// badNames are names that no service may have.
func badNames(r *run) {
	b := r.bystander(integration.Options{})
	for _, name := range []string{
		strings.Repeat("a", 64), strings.Repeat("a", 129), strings.Repeat("a", 255), "größe", "日本", "\u0430dmin", "UPPER", "a b", "-a", "a-", "a\tb", "a\"b", ".", "..",
	} {
		said, code := r.weir(b.World, "controlcenter", "publish", name, "--vip", "10.10.9.1:80", "--instance", b.instances[0])
		if code == 0 {
			r.most("accepted", r.line.Figures["accepted"]+1)
			r.Errorf("accepted %q: %s", name, said)
		}
		b.Put("net/services/"+name, b.value(name, nil))
	}
	wrong := b.unmoved()
	r.figure("accepted", r.line.Figures["accepted"]+float64(wrong))
	r.figure("others_unaffected_percent", 100)
	require.Zero(r, wrong, "served under a bad name")
}

// injections puts commands into every text of a service, 1,000 times, through publish and into etcd.
func injections(r *run) {
	b := r.bystander(integration.Options{})
	node := b.Nodes[0]
	b.NFT(node, "table inet foreign { chain c { type filter hook input priority 10; accept; }; }")
	mark := filepath.Join(b.Dir, "pwned")
	corpus := []string{
		`x"; add table ip pwned; #`, "x\n-F OUTPUT\n-A INPUT -j pwned", "$(touch " + mark + ")", "`touch " + mark + "`", "'; touch " + mark + "; '", "x; nft add table ip pwned",
		"%s%n%x", "../../../pwned", "x\x00pwned", "x\"}, {\"name\": \"pwned\"", "--help", "a\\\"; add table ip pwned", "{{.}}${pwned}", "COMMIT\n*nat\n:pwned - [0:0]", "x\r\npwned: 1", "-j pwned",
	}
	fields := []func(text string) map[string]any{
		func(text string) map[string]any { return map[string]any{"name": text} },
		func(text string) map[string]any { return map[string]any{"vips": []string{text}} },
		func(text string) map[string]any { return map[string]any{"balance": text} },
		func(text string) map[string]any { return map[string]any{"affinity": text} },
		func(text string) map[string]any {
			return map[string]any{"ports": []any{map[string]any{"port": 80, "protocol": text}}}
		},
		func(text string) map[string]any {
			return map[string]any{"ports": []any{map[string]any{"port": 80, "name": text}}}
		},
		func(text string) map[string]any {
			return map[string]any{"instances": []any{map[string]any{"address": text}}}
		},
		func(text string) map[string]any {
			return map[string]any{"instances": []any{map[string]any{"id": text, "address": b.instances[0]}}}
		},
	}
	foreign := func() string {
		out, err := node.Output("nft", "list", "table", "inet", "foreign")
		require.NoError(r, err)
		tables, err := node.Output("nft", "list", "tables")
		require.NoError(r, err)
		return string(out) + string(tables)
	}
	before := foreign()
	var pairs [][2]string
	for i := range 1000 {
		name := fmt.Sprintf("s%d", i)
		pairs = append(pairs, [2]string{"net/services/" + name, b.value(name, fields[i%len(fields)](corpus[i/len(fields)%len(corpus)]))})
	}
	b.putAll(pairs)
	for i, text := range corpus { // a process each: one field for each text
		b.file(b.value("x", fields[i%len(fields)](text)))
	}
	wrong := b.unmoved()
	rules := r.ruleset(node)
	r.figure("foreign_changes", float64(len(foreign())-len(before)))
	r.figure("served_wrongly", float64(wrong))
	require.Equal(r, before, foreign())
	require.NotContains(r, rules, "pwned")
	require.NoFileExists(r, mark)
	require.Zero(r, wrong)
}

// controlCharacters are put wherever a text may stand, and looked for in all that is printed.
func controlCharacters(r *run) {
	b := r.bystander(integration.Options{})
	evil := "\x1b[31mred\x1b]0;title\x07\u202eltr\u0085\x00"
	labels := map[string]any{"instances": []any{map[string]any{"address": b.instances[0], "labels": map[string]string{"zone": evil, evil: "x"}}}}
	b.Put("net/services/labels", b.value("labels", labels))
	b.Put("net/services/good"+evil, b.value("good", nil))
	b.Put("net/services/bad", b.value("bad"+evil, nil))
	b.Put("net/services/worse", evil)
	reason, err := json.Marshal(map[string]any{"drain": true, "reason": evil})
	require.NoError(r, err)
	b.Put("net/admin/labels/"+b.instances[0], string(reason))
	node, err := json.Marshal(map[string]any{"version": evil, "labels": map[string]string{"zone": evil}})
	require.NoError(r, err)
	b.Put("net/nodes/n9", string(node))
	b.Put("ops/applied/n9", string(node))
	b.Agents[0].AwaitLog("key net/services/worse", 10*time.Second)
	printed := 0
	look := func(what, text string) {
		n := strings.Count(text, "\x1b") + strings.Count(text, "\u202e") + strings.Count(text, "\x00") + strings.Count(text, "\u0085") + strings.Count(text, "\x07")
		if n > 0 {
			r.Errorf("%s prints control characters: %.300q", what, text)
		}
		printed += n
	}
	for _, args := range [][]string{
		{"get", "services", "-o", "wide"}, {"get", "instances", "-o", "wide"}, {"get", "instances", "labels", "-o", "wide"}, {"get", "nodes", "-o", "wide"}, {"get", "problems"},
		{"describe", "service", "labels"}, {"get", "services", "-o", "json"}, {"guard"},
		{"controlcenter", "publish", "x\x1b[31m", "--vip", "10.10.9.1:80", "--instance", b.instances[0]},
		{"controlcenter", "publish", "x", "--vip", "\x1b[31m:80", "--instance", "\x1b[31m:80"}, {"controlcenter", "withdraw", "\x1b[31m"}, {"\x1b[31m"}, {"get", "\x1b[31m"}, {"--etcd", "\x1b[31m", "get", "services"},
	} {
		said, _ := r.weir(b.World, args...)
		require.NotEmpty(r, said, "%q", args)
		look(fmt.Sprintf("weir %q", args), said)
	}
	name := filepath.Join(b.Dir, "evil.yaml")
	require.NoError(r, os.WriteFile(name, []byte("name: \"\\e[31m\"\nvips: [\"\\e[31m\"]\n\x1b[31m: 1\n"), 0o600))
	said, _ := r.weir(b.World, "controlcenter", "publish", "-f", name)
	look("publish -f", said)
	look("the agent's log", b.Agents[0].Log())
	_, page := b.Agents[0].Get("/debug/problems")
	look("/debug/problems", page)
	r.figure("raw_printed", float64(printed))
}
