package launcher

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

func good() Spec {
	return Spec{
		ID: "shop-1", Service: "shop", Command: []string{"/opt/shop/server", "--flag", ""}, Env: map[string]string{"MODE": "fast"},
		Host: netip.MustParseAddr("10.0.0.1"), Ports: []cluster.Port{{Name: "http", Port: 8080}, {Name: "dns", Port: 8080, Protocol: cluster.UDP}},
		LogAddress: "tcp://[fd00::9]:601", Resources: Resources{CPU: 0.5, Memory: 64 << 20}, User: "app", WorkDir: "/opt/shop",
		Grace: cluster.Duration(time.Minute),
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	require.Empty(t, good().Validate())
	require.Empty(t, Spec{ID: "a", Service: "s"}.Validate())
	for name, test := range map[string]struct {
		change func(*Spec)
		want   string // the field; "": none
	}{
		"id with a slash":         {func(s *Spec) { s.ID = "a/b" }, "id"},
		"no service":              {func(s *Spec) { s.Service = "" }, "service"},
		"relative command":        {func(s *Spec) { s.Command[0] = "server" }, "command[0]"},
		"command with ..":         {func(s *Spec) { s.Command[0] = "/opt/../bin/sh" }, "command[0]"},
		"argument with a NUL":     {func(s *Spec) { s.Command[1] = "a\x00b" }, "command[1]"},
		"a long argument":         {func(s *Spec) { s.Command[1] = strings.Repeat("x", maxText+1) }, "command[1]"},
		"too many arguments":      {func(s *Spec) { s.Command = append(s.Command, make([]string, maxArguments)...) }, "command"},
		"relative directory":      {func(s *Spec) { s.WorkDir = "shop" }, "workDir"},
		"name of a variable":      {func(s *Spec) { s.Env["A-B"] = "" }, "env.A-B"},
		"empty name":              {func(s *Spec) { s.Env[""] = "" }, "env."},
		"the launcher's own":      {func(s *Spec) { s.Env["INSTANCE_ID"] = "x" }, "env.INSTANCE_ID"},
		"a port's own":            {func(s *Spec) { s.Env["PORT_HTTP"] = "1" }, "env.PORT_HTTP"},
		"another port's name":     {func(s *Spec) { s.Env["PORT_OTHER"] = "1" }, ""},
		"value with a NUL":        {func(s *Spec) { s.Env["A"] = "\x00" }, "env.A"},
		"port 0":                  {func(s *Spec) { s.Ports[0].Port = 0 }, "ports[0]"},
		"a port twice":            {func(s *Spec) { s.Ports[1].Protocol = cluster.TCP }, "ports[1]"},
		"a port's bad name":       {func(s *Spec) { s.Ports[1].Name = "A B" }, "ports[1]"},
		"two of one variable":     {func(s *Spec) { s.Ports[0].Name, s.Ports[1].Name = "a-b", "a.b" }, "ports[1]"},
		"log address with a name": {func(s *Spec) { s.LogAddress = "tcp://logs:601" }, "logAddress"},
		"log address by http":     {func(s *Spec) { s.LogAddress = "http://10.0.0.1:80" }, "logAddress"},
		"log address without":     {func(s *Spec) { s.LogAddress = "udp://10.0.0.1" }, "logAddress"},
		"log address of port 0":   {func(s *Spec) { s.LogAddress = "udp://10.0.0.1:0" }, "logAddress"},
		"log address with a path": {func(s *Spec) { s.LogAddress = "udp://10.0.0.1:514/x" }, "logAddress"},
		"negative processors":     {func(s *Spec) { s.Resources.CPU = -1 }, "resources.cpu"},
		"no number":               {func(s *Spec) { s.Resources.CPU = math.NaN() }, "resources.cpu"},
		"a thousandth":            {func(s *Spec) { s.Resources.CPU = 0.001 }, "resources.cpu"},
		"a kilobyte":              {func(s *Spec) { s.Resources.Memory = 1000 }, "resources.memory"},
		"all memory there is":     {func(s *Spec) { s.Resources.Memory = math.MaxUint64 }, "resources.memory"},
		"negative grace":          {func(s *Spec) { s.Grace = -1 }, "grace"},
		"a day of grace":          {func(s *Spec) { s.Grace = cluster.Duration(24 * time.Hour) }, "grace"},
	} {
		s := good()
		test.change(&s)
		problems := s.Validate()
		if test.want == "" {
			require.Empty(t, problems, name)
			continue
		}
		require.Len(t, problems, 1, "%s: %v", name, problems)
		require.Equal(t, test.want, problems[0].Field, name)
		require.NotEmpty(t, problems[0].Fix, name)
		require.ErrorIs(t, Refuse(problems), ErrRefused)
		require.Equal(t, problems, Problems(fmt.Errorf("outside: %w", Refuse(problems))))
	}
	many := Spec{Env: map[string]string{"A B": "", "C\x1b": ""}}
	fields := []string{}
	for _, p := range many.Validate() {
		fields = append(fields, p.Field)
	}
	require.Equal(t, []string{"env.A B", `env.C\x1b`, "id", "service"}, fields, "all mistakes, in one order")
	require.NoError(t, Refuse(nil))
	require.Nil(t, Problems(errors.New("other")))
}

func TestEqual(t *testing.T) {
	t.Parallel()
	a, b := good(), good()
	require.True(t, a.Equal(b))
	b.Env["MODE"] = "slow"
	require.False(t, a.Equal(b))
	b = good()
	b.Resolved.Program = "/elsewhere"
	require.True(t, a.Equal(b))
	data, err := json.Marshal(b)
	require.NoError(t, err)
	require.NotContains(t, string(data), "elsewhere", "where a path leads is each node's own finding")
	require.True(t, Spec{Command: []string{}, Env: map[string]string{}}.Equal(Spec{}))
	var read Spec
	require.NoError(t, json.Unmarshal(data, &read))
	require.True(t, read.Equal(a))
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{
		"APP_NAME=shop", "HOST_IP=10.0.0.1", "INSTANCE_ID=shop-1", "LOG_ADDR=tcp://[fd00::9]:601", "MODE=fast", "PATH=" + searchPath,
		"PORT=8080", "PORT_DNS=8080", "PORT_HTTP=8080",
	}, good().Environment())
	s := good()
	s.Env = map[string]string{"PATH": "/bin", "PORT": "1"}
	require.Contains(t, s.Environment(), "PATH=/bin")
	require.Contains(t, s.Environment(), "PORT=8080", "what the launcher says is true")
}

// A shell that sources the file has the same values, whatever is in them.
func TestEnvironmentFile(t *testing.T) {
	t.Parallel()
	value := "it's \"$HOME\" `id` $(id) \\ ;\n* !'"
	out, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", EnvironmentFile([]string{"A=" + value, "B="})+`printf '%s|%s' "$A" "$B"`).Output()
	require.NoError(t, err)
	require.Equal(t, value+"|", string(out))
}

func FuzzParseLogAddress(f *testing.F) {
	f.Add("udp://10.0.0.1:514")
	f.Add("tcp://[fe80::1%eth0]:1")
	f.Fuzz(func(t *testing.T, s string) {
		network, address, err := ParseLogAddress(s)
		if err != nil || s == "" {
			require.Empty(t, network+address)
			return
		}
		at, err := netip.ParseAddrPort(address)
		require.NoError(t, err)
		require.NotZero(t, at.Port())
		require.Contains(t, []string{"tcp", "udp"}, network)
	})
}

func TestExitText(t *testing.T) {
	t.Parallel()
	require.Equal(t, "exit code 3", Exit{Code: 3}.String())
	require.Equal(t, "ended by signal: killed, out of memory", Exit{Code: -1, Signal: "killed", OutOfMemory: true}.String())
}
