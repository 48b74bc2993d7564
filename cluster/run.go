package cluster

import (
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Run says how the control center starts instances of a service.
type Run struct {
	Driver    string            `json:"driver,omitempty"`    // process, hook or external; left out: process
	Command   []string          `json:"command,omitempty"`   // an absolute path and its arguments; no shell reads it. Of a hook: what it is to start
	Image     string            `json:"image,omitempty"`     // of a hook: what it is to start, in words that it knows; with command or without
	Env       map[string]string `json:"env,omitempty"`       // beside PORT, HOST_IP, APP_NAME, INSTANCE_ID and LOG_ADDR
	Dir       string            `json:"dir,omitempty"`       // working directory; left out: /
	User      string            `json:"user,omitempty"`      // left out: the launcher's default, never root
	Resources Resources         `json:"resources,omitzero"`  // of each instance; placed where that is free, and kept to it
	Grace     Duration          `json:"grace,omitempty"`     // from TERM to KILL; default 10s
	Drain     Duration          `json:"drain,omitempty"`     // for live connections to end before TERM; default 1m
	Log       string            `json:"log,omitempty"`       // where its output is sent too: udp://ADDRESS:PORT or tcp://ADDRESS:PORT, RFC 5424
	Nodes     map[string]string `json:"nodes,omitempty"`     // labels that a node must have
	Instances []Instance        `json:"instances,omitempty"` // of external: where they are. Somebody else runs them; a launcher looks whether they answer
}

// The drivers of a launcher.
const (
	DriverProcess  = "process"
	DriverHook     = "hook"
	DriverExternal = "external"
)

// Resources of one instance, or of a node; 0 of an instance is no limit.
type Resources struct {
	CPU    float64 `json:"cpu,omitempty"`    // processors
	Memory Bytes   `json:"memory,omitempty"` // as in 256MiB
}

// Scale lets the number of a service's instances follow its load.
type Scale struct {
	Min     int           `json:"min,omitempty"` // 0 permits none at all while nobody connects
	Max     int           `json:"max"`
	Metrics []ScaleMetric `json:"metrics,omitempty"`
	Window  Duration      `json:"window,omitempty"` // fewer only when none of its moments wanted more; default 5m
	Idle    Duration      `json:"idle,omitempty"`   // with a min of 0: none are kept after so long without a connection; default 10m
}

// ScaleMetric is what every instance should come to: busy or utilization 0..1, connections, or rate in new connections/s.
type ScaleMetric struct {
	Metric string  `json:"metric"`
	Target float64 `json:"target"`
}

// Restart says when an instance that runs but is not well is replaced.
type Restart struct {
	After int `json:"after,omitempty"` // failing checks in a row; default three times the check's fall
}

// What is meant where a file leaves it out.
const (
	DefaultGrace  = Duration(10 * time.Second)
	DefaultDrain  = Duration(time.Minute)
	DefaultWindow = Duration(5 * time.Minute)
	DefaultIdle   = Duration(10 * time.Minute)
	DefaultEmpty  = Duration(15 * time.Minute) // of a machine on which nothing runs
)

// Bytes is an amount of memory, written as in 256MiB.
type Bytes uint64

var units = []struct {
	name string
	size Bytes
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// String is the shortest exact form.
func (b Bytes) String() string {
	for _, u := range units {
		if b%u.size == 0 && b > 0 {
			return strconv.FormatUint(uint64(b/u.size), 10) + u.name
		}
	}
	return "0B"
}

// MarshalText writes it for JSON.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText reads a whole number with a unit: KiB, MiB, GiB, TiB or B.
func (b *Bytes) UnmarshalText(text []byte) error {
	for _, u := range units {
		number, ok := strings.CutSuffix(string(text), u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(number, 10, 64)
		if err != nil || n > math.MaxInt64/uint64(u.size) {
			break
		}
		*b = Bytes(n) * u.size
		return nil
	}
	return fmt.Errorf("%q is not an amount of memory: write a whole number and its unit, as in 256MiB or 2GiB", clip(string(text)))
}

// Limits of what is launched.
const (
	maxEnv     = 256
	maxEnvText = 4096
	maxGrace   = Duration(time.Hour)
	maxWarm    = 100
)

func (s *Service) validateRun(c *complaint) {
	if s.Run == nil {
		switch {
		case s.Replicas != nil, s.Warm != 0, s.Scale != nil && !standsBy(s.Instances):
			c.add("run", "instances can only be started where it says how", "give run, or publish instances by hand; with scale, some of them with standby: true")
		case s.Restart != nil:
			c.add("restart", "only instances that are started by run can be started anew", "give run, or remove it")
		}
	} else {
		s.Run.validate(c)
	}
	s.validateReserves(c)
	if s.Replicas != nil && (*s.Replicas < 0 || *s.Replicas > MaxInstances) {
		c.add("replicas", fmt.Sprintf("%d is outside 0..%d", *s.Replicas, MaxInstances), "split the service if it needs more")
	}
	if s.Replicas != nil && s.Scale != nil {
		c.add("replicas", "the number follows the load by scale already", "remove one of the two")
	}
	s.validateExternal(c)
	if s.Warm < 0 || s.Warm > maxWarm {
		c.add("warm", fmt.Sprintf("%d is outside 0..%d", s.Warm, maxWarm), "a few are enough: the pool refills itself")
	}
	if r := s.Restart; r != nil && (r.After < 0 || r.After > 1000) {
		c.add("restart.after", fmt.Sprintf("%d is outside 0..1000", r.After), "leave it out for three times the check's fall")
	}
	if s.Scale != nil {
		s.Scale.validate(c)
	}
}

// validateExternal sees to what only makes sense for instances that somebody else runs, and to what does not.
func (s *Service) validateExternal(c *complaint) {
	external := s.Run != nil && s.Run.Driver == DriverExternal
	switch {
	case !external && s.Run != nil && len(s.Run.Instances) > 0:
		c.add("run.instances", "instances that are started here get their addresses from their nodes", "remove it, or use driver: external")
	case !external:
	case len(s.Run.Instances) == 0:
		c.add("run.instances", "an external instance is known by its address alone", "write run: {driver: external, instances: [IP:PORT, ...]}")
	case len(s.Run.Command) > 0:
		c.add("run.command", "external instances are never started", "remove it, or choose another driver")
	case s.Replicas != nil || s.Scale != nil || s.Warm != 0:
		c.add("run.instances", "all that are listed serve: their number is theirs", "remove replicas, scale and warm; a list that scales is instances with standby: true")
	}
}

func (r *Run) validate(c *complaint) {
	switch r.Driver {
	case "", DriverProcess:
		if len(r.Command) == 0 || !strings.HasPrefix(r.Command[0], "/") {
			c.add("run.command", "it begins with no absolute path", "write [/path/of/program, argument, ...]; there is no shell in between")
		}
	case DriverHook, DriverExternal:
	default:
		c.add("run.driver", fmt.Sprintf("%q is unknown", clip(r.Driver)), "use process, hook or external")
	}
	if r.Image != "" && r.Driver != DriverHook {
		c.add("run.image", "only a hook starts images", "use driver: hook, or remove it")
	}
	if !ValidImage(r.Image) {
		c.add("run.image", fmt.Sprintf("%q is no name of an image", clip(r.Image)), "write printable ASCII without blanks, 512 bytes at most")
	}
	if text := strings.Join(r.Command, " "); len(text) > 4*maxCheckText || strings.ContainsRune(text, 0) {
		c.add("run.command", "it is too long, or holds a NUL", "put it into a script")
	}
	if r.Dir != "" && !strings.HasPrefix(r.Dir, "/") || strings.ContainsRune(r.Dir, 0) {
		c.add("run.dir", fmt.Sprintf("%q is no absolute path", clip(r.Dir)), "write the whole path")
	}
	if r.User != "" && !token(r.User) {
		c.add("run.user", fmt.Sprintf("%q is no user", clip(r.User)), "write a name or a number")
	}
	r.validateEnv(c)
	if r.Resources.CPU < 0 || r.Resources.CPU > 1024 || math.IsNaN(r.Resources.CPU) {
		c.add("run.resources.cpu", fmt.Sprintf("%g is outside 0..1024", r.Resources.CPU), "write processors, as in 0.5")
	}
	if r.Grace < 0 || r.Grace > maxGrace {
		c.add("run.grace", fmt.Sprintf("%s is outside 0s..%s", r.Grace, maxGrace), "give the time that an instance needs to end its work")
	}
	if r.Drain < 0 || r.Drain > 24*maxGrace {
		c.add("run.drain", fmt.Sprintf("%s is outside 0s..24h", r.Drain), "give the time that connections need to end")
	}
	if r.Log != "" && !logAddress(r.Log) {
		c.add("run.log", fmt.Sprintf("%q is no log address", clip(r.Log)), "write udp://ADDRESS:PORT or tcp://ADDRESS:PORT")
	}
	if problem := ValidLabels(r.Nodes); problem != "" {
		c.add("run.nodes", problem, "give labels as agents have them")
	}
}

// ValidImage says whether a text can name an image. What it means is the hook's to know.
func ValidImage(name string) bool {
	return len(name) <= 512 && !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' })
}

// validateReserves is about instances published by hand to stand by.
func (s *Service) validateReserves(c *complaint) {
	for i, inst := range s.Instances {
		if inst.Standby && s.Launched() {
			c.add(fmt.Sprintf("instances[%d].standby", i), "those of a service with run are called from what launchers keep ready", "remove it, and use warm")
		}
	}
	if !s.Launched() && s.Scale != nil && s.Scale.Min > len(s.Instances) {
		c.add("scale.min", fmt.Sprintf("%d are more than the %d instances that are listed", s.Scale.Min, len(s.Instances)), "list more, or lower min")
	}
}

func (r *Run) validateEnv(c *complaint) {
	if len(r.Env) > maxEnv {
		c.add("run.env", fmt.Sprintf("%d variables are too many", len(r.Env)), fmt.Sprintf("use at most %d", maxEnv))
	}
	for _, name := range slices.Sorted(maps.Keys(r.Env)) {
		switch value := r.Env[name]; {
		case !variable(name):
			c.add("run.env", fmt.Sprintf("%q is no name of a variable", clip(name)), "use A-Z a-z 0-9 and _, not a digit first")
		case given(name):
			c.add("run.env", fmt.Sprintf("%s is what the instance is told by its launcher", name), "choose another name")
		case len(value) > maxEnvText || strings.ContainsRune(value, 0):
			c.add("run.env", fmt.Sprintf("the value of %s is too long, or holds a NUL", name), "put it into a file")
		}
	}
}

func variable(name string) bool {
	return name != "" && len(name) <= maxName && (name[0] < '0' || name[0] > '9') && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_'
	})
}

// given says whether a variable is the launcher's own.
func given(name string) bool {
	return strings.HasPrefix(name, "PORT_") || slices.Contains([]string{"PORT", "HOST_IP", "APP_NAME", "INSTANCE_ID", "LOG_ADDR", "WEIR_ENV_FILE", "WEIR_URL", "WEIR_TOKEN"}, name)
}

// logAddress says whether a text is one. It names an address: an instance must not depend on a resolver for its output.
func logAddress(text string) bool {
	rest, udp := strings.CutPrefix(text, "udp://")
	if !udp {
		var tcp bool
		if rest, tcp = strings.CutPrefix(text, "tcp://"); !tcp {
			return false
		}
	}
	at, err := netip.ParseAddrPort(rest)
	return err == nil && at.Port() != 0
}

// ValidLabels says what is wrong with labels, or "".
func ValidLabels(labels map[string]string) string {
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if !printableText(name) || name == "" || !printableText(labels[name]) {
			return fmt.Sprintf("label %q is not a line of printable ASCII", clip(name))
		}
	}
	return ""
}

func (s *Scale) validate(c *complaint) {
	if s.Min < 0 || s.Max > MaxInstances {
		c.add("scale", fmt.Sprintf("%d..%d is outside 0..%d", s.Min, s.Max, MaxInstances), "split the service if it needs more")
	}
	if s.Max < max(s.Min, 1) {
		c.add("scale.max", fmt.Sprintf("%d is below the %d that there must be at least", s.Max, max(s.Min, 1)), "raise max, or lower min")
	}
	seen := map[string]bool{}
	for i, m := range s.Metrics {
		field := fmt.Sprintf("scale.metrics[%d]", i)
		fraction := m.Metric == "busy" || m.Metric == "utilization"
		switch {
		case !fraction && m.Metric != "connections" && m.Metric != "rate":
			c.add(field, fmt.Sprintf("metric %q is unknown", clip(m.Metric)), "use busy, connections, rate or utilization")
		case seen[m.Metric]:
			c.add(field, fmt.Sprintf("metric %s is given twice", m.Metric), "remove one")
		case !(m.Target > 0) || math.IsInf(m.Target, 1):
			c.add(field, fmt.Sprintf("a target of %g cannot be met by any number of instances", m.Target), "give a number above 0")
		case fraction && m.Target > 1:
			c.add(field, fmt.Sprintf("a target of %g is never reached: %s is 1 at most", m.Target, m.Metric), "give a part of 1, such as 0.6")
		}
		seen[m.Metric] = true
	}
	for _, d := range []struct {
		name  string
		value Duration
	}{{"window", s.Window}, {"idle", s.Idle}} {
		if d.value < 0 || d.value > Duration(24*time.Hour) {
			c.add("scale."+d.name, fmt.Sprintf("%s is outside 0s..24h", d.value), "leave it out for the default")
		}
	}
}
