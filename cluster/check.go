package cluster

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Check says how the instances of a service are checked. Exactly one kind is set.
type Check struct {
	TCP  *TCPCheck  `json:"tcp,omitempty"`
	HTTP *HTTPCheck `json:"http,omitempty"`
	GRPC *GRPCCheck `json:"grpc,omitempty"`
	Exec *ExecCheck `json:"exec,omitempty"`
	TTL  *TTLCheck  `json:"ttl,omitempty"`

	Port     string   `json:"port,omitempty"`     // the name of the service's port to connect to; left out: its first TCP port
	Interval Duration `json:"interval,omitempty"` // from the start of one check to that of the next; default 2s
	Timeout  Duration `json:"timeout,omitempty"`  // of one check; default 1s
	Rise     int      `json:"rise,omitempty"`     // successes in a row until an instance that failed is well again; default 2
	Fall     int      `json:"fall,omitempty"`     // failures in a row until it fails; default 3
	Grace    Duration `json:"grace,omitempty"`    // for a new instance to start in: until its first success, failures do not count for so long
}

// TCPCheck is well when a connection is accepted.
type TCPCheck struct{}

// HTTPCheck is well when the answer is as wanted. Redirects are not followed.
type HTTPCheck struct {
	Path     string            `json:"path,omitempty"`     // default /
	Host     string            `json:"host,omitempty"`     // the header of that name; default: the address
	Headers  map[string]string `json:"headers,omitempty"`  // more of them
	Status   string            `json:"status,omitempty"`   // a number or a range; default 200-399
	Contains string            `json:"contains,omitempty"` // a text that must stand in the first MaxCheckBody bytes of the answer
	TLS      *CheckTLS         `json:"tls,omitempty"`      // left out: plain HTTP
}

// GRPCCheck asks the standard health service (grpc.health.v1).
type GRPCCheck struct {
	Service string    `json:"service,omitempty"` // default: the server as a whole
	TLS     *CheckTLS `json:"tls,omitempty"`
}

// ExecCheck runs a program on the instance's own node; it is well when that ends with 0. Nodes run it only where their
// operator allowed it.
type ExecCheck struct {
	Command []string `json:"command"` // an absolute path, and arguments
}

// TTLCheck waits for the instance to report itself.
type TTLCheck struct {
	TTL Duration `json:"ttl,omitempty"` // silence for longer is failing; default 30s
}

// CheckTLS is how a check speaks TLS. The certificate is not verified unless asked for: the address is known, and an instance whose
// certificate ran out still answers.
type CheckTLS struct {
	Name   string `json:"name,omitempty"` // server name to ask for
	Verify bool   `json:"verify,omitempty"`
}

// Limits of checks.
const (
	MaxCheckBody    = 64 << 10
	MinInterval     = Duration(200 * time.Millisecond)
	MaxInterval     = Duration(time.Hour)
	maxRise         = 100
	maxCheckHeaders = 32
	maxCheckText    = 1024
)

// Kind is tcp, http, grpc, exec or ttl.
func (c *Check) Kind() string {
	switch {
	case c.TCP != nil:
		return "tcp"
	case c.HTTP != nil:
		return "http"
	case c.GRPC != nil:
		return "grpc"
	case c.Exec != nil:
		return "exec"
	case c.TTL != nil:
		return "ttl"
	}
	return ""
}

// WithDefaults is the check with what was left out.
func (c Check) WithDefaults() Check {
	c.Interval = cmp.Or(c.Interval, Duration(2*time.Second))
	c.Timeout = cmp.Or(c.Timeout, min(Duration(time.Second), c.Interval))
	c.Rise, c.Fall = cmp.Or(c.Rise, 2), cmp.Or(c.Fall, 3)
	if h := c.HTTP; h != nil {
		filled := *h
		filled.Path, filled.Status = cmp.Or(h.Path, "/"), cmp.Or(h.Status, "200-399")
		c.HTTP = &filled
	}
	if c.TTL != nil {
		c.TTL = &TTLCheck{cmp.Or(c.TTL.TTL, Duration(30*time.Second))}
	}
	return c
}

// StatusRange reads "204" or "200-399"; 0, 0 for what is neither.
func StatusRange(text string) (from, to int) {
	low, high, ranged := strings.Cut(text, "-")
	if !ranged {
		high = low
	}
	from, err := strconv.Atoi(low)
	to, herr := strconv.Atoi(high)
	if err != nil || herr != nil || from < 100 || to > 599 || from > to {
		return 0, 0
	}
	return from, to
}

// CheckPort is the port of the service that its check connects to; false where it has none.
func (s *Service) CheckPort() (Port, bool) {
	i := slices.IndexFunc(s.Ports, func(p Port) bool {
		if s.Check.Port != "" {
			return p.Name == s.Check.Port
		}
		return p.Protocol == TCP
	})
	if i < 0 {
		return Port{}, false
	}
	return s.Ports[i], true
}

func (s *Service) validateCheck(c *complaint) {
	k := s.Check
	if k == nil {
		return
	}
	kinds := 0
	for _, set := range []bool{k.TCP != nil, k.HTTP != nil, k.GRPC != nil, k.Exec != nil, k.TTL != nil} {
		if set {
			kinds++
		}
	}
	if kinds != 1 {
		c.add("check", fmt.Sprintf("it has %d kinds", kinds), "give one of tcp, http, grpc, exec and ttl")
	}
	k.validatePace(c)
	if k.HTTP != nil {
		k.HTTP.validate(c)
	}
	if k.GRPC != nil && len(k.GRPC.Service) > maxCheckText {
		c.add("check.grpc.service", "it is too long", fmt.Sprintf("use at most %d bytes", maxCheckText))
	}
	if k.Exec != nil {
		k.Exec.validate(c)
	}
	if k.TTL != nil && k.TTL.TTL != 0 && (k.TTL.TTL < Duration(time.Second) || k.TTL.TTL > MaxInterval) {
		c.add("check.ttl.ttl", fmt.Sprintf("%s is outside 1s..%s", k.TTL.TTL, MaxInterval), "use a time in which an instance can report at least twice")
	}
	connects := k.TCP != nil || k.HTTP != nil || k.GRPC != nil
	port, found := s.CheckPort()
	switch {
	case k.Port != "" && (!connects || !found):
		c.add("check.port", fmt.Sprintf("the service has no port named %q that this check could connect to", clip(k.Port)), "name one of its ports, or leave it out")
	case connects && (!found || port.Protocol != TCP):
		c.add("check", "it connects by TCP, and no port of the service takes that", "use exec or ttl, or name another port")
	}
}

func (k *Check) validatePace(c *complaint) {
	d := k.WithDefaults()
	if d.Interval < MinInterval || d.Interval > MaxInterval {
		c.add("check.interval", fmt.Sprintf("%s is outside %s..%s", d.Interval, MinInterval, MaxInterval), "checks more often than that are load, less often they are no help")
	}
	if d.Timeout <= 0 || d.Timeout > d.Interval {
		c.add("check.timeout", fmt.Sprintf("%s is not within the interval of %s", d.Timeout, d.Interval), "one check must end before the next begins")
	}
	if d.Rise < 1 || d.Rise > maxRise {
		c.add("check.rise", fmt.Sprintf("%d is outside 1..%d", d.Rise, maxRise), "2 is the default")
	}
	if d.Fall < 1 || d.Fall > maxRise {
		c.add("check.fall", fmt.Sprintf("%d is outside 1..%d", d.Fall, maxRise), "3 is the default")
	}
	if d.Grace < 0 || d.Grace > MaxInterval {
		c.add("check.grace", fmt.Sprintf("%s is outside 0s..%s", d.Grace, MaxInterval), "give the time that an instance needs to start")
	}
}

func (h *HTTPCheck) validate(c *complaint) {
	if !strings.HasPrefix(h.Path, "/") && h.Path != "" || !printableText(h.Path) || strings.ContainsAny(h.Path, " #") {
		c.add("check.http.path", fmt.Sprintf("%q is no path", clip(h.Path)), "begin it with /, and escape what is not plain ASCII")
	}
	if from, _ := StatusRange(cmp.Or(h.Status, "200")); from == 0 {
		c.add("check.http.status", fmt.Sprintf("%q is neither a status nor a range of them", clip(h.Status)), "write 204 or 200-399")
	}
	if !printableText(h.Host) || strings.ContainsAny(h.Host, " /") {
		c.add("check.http.host", fmt.Sprintf("%q is no host", clip(h.Host)), "write a name, with a port if need be")
	}
	if len(h.Contains) > maxCheckText {
		c.add("check.http.contains", "it is too long", fmt.Sprintf("use at most %d bytes", maxCheckText))
	}
	if len(h.Headers) > maxCheckHeaders {
		c.add("check.http.headers", fmt.Sprintf("%d are too many", len(h.Headers)), fmt.Sprintf("use at most %d", maxCheckHeaders))
	}
	for _, name := range slices.Sorted(maps.Keys(h.Headers)) {
		value := h.Headers[name]
		if !token(name) || len(value) > maxCheckText || !printableText(value) && value != "" || http.CanonicalHeaderKey(name) == "Host" {
			c.add("check.http.headers", fmt.Sprintf("header %q cannot be sent", clip(name)), "use letters, digits and - in its name, printable ASCII in its value, and host: for Host")
		}
	}
}

func (e *ExecCheck) validate(c *complaint) {
	if len(e.Command) == 0 || !strings.HasPrefix(e.Command[0], "/") {
		c.add("check.exec.command", "it begins with no absolute path", "write [/path/of/program, argument, ...]; there is no shell in between")
	}
	if size := len(strings.Join(e.Command, " ")); size > 4*maxCheckText || strings.ContainsRune(strings.Join(e.Command, ""), 0) {
		c.add("check.exec.command", "it is too long, or holds a NUL", "put it into a script")
	}
}

// printableText says whether a text is at most a line of printable ASCII.
func printableText(s string) bool {
	return len(s) <= maxCheckText && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// token says whether a text may be the name of a header: RFC 9110, section 5.6.2.
func token(s string) bool {
	return s != "" && len(s) <= maxName && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	})
}
