package controlcenter

import (
	"github.com/goccy/go-yaml/ast"

	"github.com/weir-lb/weir/cluster"
)

func (r *reader) check(field string, n ast.Node) *cluster.Check {
	c := &cluster.Check{}
	r.mapping(field, n, fields{
		"tcp": func(f string, n ast.Node) {
			r.mapping(f, n, fields{})
			c.TCP = &cluster.TCPCheck{}
		},
		"http": func(f string, n ast.Node) { c.HTTP = r.httpCheck(f, n) },
		"grpc": func(f string, n ast.Node) {
			c.GRPC = &cluster.GRPCCheck{}
			r.mapping(f, n, fields{
				"service": func(f string, n ast.Node) { c.GRPC.Service = r.text(f, n) },
				"tls":     func(f string, n ast.Node) { c.GRPC.TLS = r.checkTLS(f, n) },
			})
		},
		"exec": func(f string, n ast.Node) {
			c.Exec = &cluster.ExecCheck{}
			r.mapping(f, n, fields{"command": func(f string, n ast.Node) {
				r.list(f, n, func(f string, n ast.Node) { c.Exec.Command = append(c.Exec.Command, r.text(f, n)) })
			}})
		},
		"ttl": func(f string, n ast.Node) {
			c.TTL = &cluster.TTLCheck{}
			r.mapping(f, n, fields{"ttl": func(f string, n ast.Node) { c.TTL.TTL = r.duration(f, n) }})
		},
		"port":     func(f string, n ast.Node) { c.Port = r.text(f, n) },
		"interval": func(f string, n ast.Node) { c.Interval = r.duration(f, n) },
		"timeout":  func(f string, n ast.Node) { c.Timeout = r.duration(f, n) },
		"rise":     func(f string, n ast.Node) { c.Rise = r.number(f, n, 1, 100) },
		"fall":     func(f string, n ast.Node) { c.Fall = r.number(f, n, 1, 100) },
		"grace":    func(f string, n ast.Node) { c.Grace = r.duration(f, n) },
	})
	return c
}

func (r *reader) httpCheck(field string, n ast.Node) *cluster.HTTPCheck {
	h := &cluster.HTTPCheck{}
	r.mapping(field, n, fields{
		"path":     func(f string, n ast.Node) { h.Path = r.text(f, n) },
		"host":     func(f string, n ast.Node) { h.Host = r.text(f, n) },
		"status":   func(f string, n ast.Node) { h.Status = r.text(f, n) },
		"contains": func(f string, n ast.Node) { h.Contains = r.text(f, n) },
		"tls":      func(f string, n ast.Node) { h.TLS = r.checkTLS(f, n) },
		"headers":  func(f string, n ast.Node) { h.Headers = r.texts(f, n) },
	})
	return h
}

func (r *reader) checkTLS(field string, n ast.Node) *cluster.CheckTLS {
	t := &cluster.CheckTLS{}
	r.mapping(field, n, fields{
		"name":   func(f string, n ast.Node) { t.Name = r.text(f, n) },
		"verify": func(f string, n ast.Node) { t.Verify = r.truth(f, n) },
	})
	return t
}

func (r *reader) load(field string, n ast.Node) *cluster.LoadSource {
	l := &cluster.LoadSource{}
	r.mapping(field, n, fields{
		"http":  func(f string, n ast.Node) { l.HTTP = r.text(f, n) },
		"port":  func(f string, n ast.Node) { l.Port = r.text(f, n) },
		"agent": func(f string, n ast.Node) { l.Agent = uint16(r.number(f, n, 1, 65535)) },
	})
	return l
}

func (r *reader) latency(field string, n ast.Node) *cluster.Latency {
	l := &cluster.Latency{}
	r.mapping(field, n, fields{
		"soft": func(f string, n ast.Node) { l.Soft = r.duration(f, n) },
		"hard": func(f string, n ast.Node) { l.Hard = r.duration(f, n) },
	})
	return l
}

func (r *reader) duration(field string, n ast.Node) (d cluster.Duration) {
	if err := d.UnmarshalText([]byte(r.text(field, n))); err != nil {
		r.fault(field, n, err.Error(), "")
	}
	return d
}

func (r *reader) truth(field string, n ast.Node) bool {
	b, ok := n.(*ast.BoolNode)
	if !ok {
		r.fault(field, n, "true or false is wanted here, not "+kind(n), "")
		return false
	}
	return b.Value
}
