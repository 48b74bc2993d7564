package launcher

import (
	"fmt"
	"math"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/plain"
)

// The limits of a Spec. What is larger could not be handed to a process, or is a mistake.
const (
	DefaultGrace = time.Duration(cluster.DefaultGrace)
	maxGrace     = time.Hour
	maxArguments = 1000
	maxVariables = 1000
	maxText      = 32 << 10 // one argument or value; the kernel takes 128 KiB
	maxCommand   = 256 << 10
	minMemory    = 1 << 20
)

var variablePattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,254}$`)

// Validate reports every mistake that can be seen in the Spec alone.
func (s Spec) Validate() []cluster.Problem {
	v := &faults{object: "instance " + plain.Line(s.ID, 80)}
	if why := cluster.ValidID(s.ID); why != "" {
		v.add("id", why, "rename it")
	}
	if why := cluster.ValidName(s.Service); why != "" {
		v.add("service", why, "rename it")
	}
	s.validateKind(v)
	s.validateCommand(v)
	s.validateEnv(v)
	s.validatePorts(v)
	if _, _, err := ParseLogAddress(s.LogAddress); err != nil {
		v.add("logAddress", err.Error(), "write udp://ADDRESS:PORT or tcp://ADDRESS:PORT")
	}
	if s.Resources.CPU < 0 || s.Resources.CPU > 4096 || math.IsNaN(s.Resources.CPU) || s.Resources.CPU > 0 && s.Resources.CPU < 0.01 {
		v.add("resources.cpu", fmt.Sprintf("%g is not a number of processors", s.Resources.CPU), "write 0.01 to 4096, or leave it out")
	}
	if m := s.Resources.Memory; m > math.MaxInt64 || m > 0 && m < minMemory {
		v.add("resources.memory", fmt.Sprintf("nothing runs within %d bytes", m), "write at least 1 MiB, or leave it out")
	}
	if g := time.Duration(s.Grace); g < 0 || g > maxGrace {
		v.add("grace", fmt.Sprintf("%s is not between 0 and %s", g, maxGrace), "write a shorter one")
	}
	return v.problems
}

// validateKind is about machines: Weir gives them a name and a size, and all else is theirs.
func (s Spec) validateKind(v *faults) {
	switch {
	case s.Kind == cluster.KindInstance && len(s.Labels) > 0:
		v.add("labels", "only nodes have them", "leave them out")
	case s.Kind == cluster.KindInstance:
	case s.Kind != cluster.KindNode:
		v.add("kind", fmt.Sprintf("%q is unknown", plain.Line(string(s.Kind), 80)), "use node, or leave it out")
	case cluster.ValidName(s.ID) != "":
		v.add("id", cluster.ValidName(s.ID), "a machine joins as the node of that name")
	case len(s.Command) > 0 || len(s.Ports) > 0 || s.Image != "":
		v.add("kind", "a node has no command, no image and no ports of its own", "leave them out")
	case cluster.ValidLabels(s.Labels) != "":
		v.add("labels", cluster.ValidLabels(s.Labels), "write printable ASCII")
	}
}

func (s Spec) validateCommand(v *faults) {
	total := 0
	for i, argument := range s.Command {
		total += len(argument)
		if len(argument) > maxText || strings.ContainsRune(argument, 0) {
			v.add(fmt.Sprintf("command[%d]", i), fmt.Sprintf("is longer than %d bytes, or has a NUL in it", maxText), "shorten it")
		}
	}
	if len(s.Command) > maxArguments || total > maxCommand {
		v.add("command", fmt.Sprintf("has %d arguments of %d bytes, more than %d or %d", len(s.Command), total, maxArguments, maxCommand), "write them into a file")
	}
	if !cluster.ValidImage(s.Image) {
		v.add("image", fmt.Sprintf("%q is no name of an image", plain.Line(s.Image, 80)), "write printable ASCII without blanks")
	}
	if len(s.Command) > 0 && !cleanPath(s.Command[0]) {
		v.add("command[0]", fmt.Sprintf("%q is not an absolute path without . and ..", plain.Line(s.Command[0], 80)), "write the whole path of the program")
	}
	if s.WorkDir != "" && !cleanPath(s.WorkDir) {
		v.add("workDir", fmt.Sprintf("%q is not an absolute path without . and ..", plain.Line(s.WorkDir, 80)), "write the whole path")
	}
}

func cleanPath(p string) bool {
	return path.IsAbs(p) && path.Clean(p) == p && !strings.ContainsRune(p, 0) && len(p) < 4096
}

func (s Spec) validateEnv(v *faults) {
	if len(s.Env) > maxVariables {
		v.add("env", fmt.Sprintf("has %d variables, more than %d", len(s.Env), maxVariables), "write them into a file")
		return
	}
	given := s.given()
	for name, value := range s.Env {
		field := "env." + plain.Line(name, 80)
		switch _, taken := given[name]; {
		case !variablePattern.MatchString(name):
			v.add(field, "is not the name of a variable", "write letters, digits and _, not beginning with a digit")
		case taken || name == "PORT" || name == FileVariable || name == URLVariable || name == TokenVariable:
			v.add(field, "is set by the launcher", "choose another name")
		case len(value) > maxText || strings.ContainsRune(value, 0):
			v.add(field, fmt.Sprintf("is longer than %d bytes, or has a NUL in it", maxText), "shorten it")
		}
	}
	slices.SortFunc(v.problems, cluster.Problem.Compare) // a map has no order
}

func (s Spec) validatePorts(v *faults) {
	type listener struct {
		proto cluster.Proto
		port  uint16
	}
	names, ports := map[string]bool{}, map[listener]bool{}
	for i, p := range s.Ports {
		field := fmt.Sprintf("ports[%d]", i)
		l := listener{cluster.TCP, p.Port}
		if p.Protocol != 0 {
			l.proto = p.Protocol
		}
		switch name := portVariable(p.Name); {
		case p.Port == 0:
			v.add(field, "has no number", "claim one first")
		case ports[l]:
			v.add(field, fmt.Sprintf("%d is there twice", p.Port), "remove one")
		case p.Name != "" && cluster.ValidName(p.Name) != "":
			v.add(field, cluster.ValidName(p.Name), "rename it")
		case p.Name != "" && names[name]:
			v.add(field, name+" is the variable of two ports", "rename one")
		default:
			ports[l], names[name] = true, true
		}
	}
}

// ParseLogAddress takes udp://HOST:PORT or tcp://HOST:PORT apart; empty means that there is none.
func ParseLogAddress(s string) (network, address string, err error) {
	if s == "" {
		return "", "", nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "udp" && u.Scheme != "tcp" || u.Path != "" || u.RawQuery != "" || u.User != nil || u.Fragment != "" {
		return "", "", fmt.Errorf("%q is not the address of a log server", plain.Line(s, 80))
	}
	// An address and not a name: an instance must not depend on a resolver for its output.
	if _, err := netip.ParseAddr(u.Hostname()); err != nil {
		return "", "", fmt.Errorf("%q has no IP address", plain.Line(s, 80))
	}
	if port, err := strconv.ParseUint(u.Port(), 10, 16); err != nil || port == 0 {
		return "", "", fmt.Errorf("%q has no port", plain.Line(s, 80))
	}
	return u.Scheme, u.Host, nil
}

// faults gathers the problems of one object.
type faults struct {
	object   string
	problems []cluster.Problem
}

func (f *faults) add(field, what, fix string) {
	f.problems = append(f.problems, cluster.Problem{Object: f.object, Field: field, What: what, Fix: fix})
}
