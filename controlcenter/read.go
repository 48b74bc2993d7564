package controlcenter

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/weir-lb/weir/cluster"
)

// reader turns the syntax tree of one document into a service. It goes on after a mistake, which a decoder would not,
// so that all of them are reported at once.
type reader struct {
	file   string
	object string
	lines  map[string]int
	faults []Fault
}

const unknownField = "this field is unknown"

// fields says what may stand in a mapping, and what reads it.
type fields map[string]func(field string, n ast.Node)

func (r *reader) service(n ast.Node) *cluster.Service {
	s := &cluster.Service{}
	r.mapping("", n, fields{
		"name": func(f string, n ast.Node) {
			s.Name = r.text(f, n)
			r.object = "service " + s.Name
		},
		"balance":  func(f string, n ast.Node) { s.Balance = cluster.Balance(r.text(f, n)) },
		"affinity": func(f string, n ast.Node) { s.Affinity = cluster.Affinity(r.text(f, n)) },
		"locality": func(f string, n ast.Node) { s.Locality = cluster.Locality(r.text(f, n)) },
		"sources": func(f string, n ast.Node) {
			s.Sources = []netip.Prefix{} // an empty list is another thing than none
			r.list(f, n, func(f string, n ast.Node) { s.Sources = append(s.Sources, r.network(f, n)) })
		},
		"vips": func(f string, n ast.Node) {
			r.list(f, n, func(f string, n ast.Node) { s.VIPs = append(s.VIPs, r.address(f, n)) })
		},
		"ports": func(f string, n ast.Node) {
			r.list(f, n, func(f string, n ast.Node) { s.Ports = append(s.Ports, r.port(f, n)) })
		},
		"check":   func(f string, n ast.Node) { s.Check = r.check(f, n) },
		"load":    func(f string, n ast.Node) { s.Load = r.load(f, n) },
		"latency": func(f string, n ast.Node) { s.Latency = r.latency(f, n) },
		"run":     func(f string, n ast.Node) { s.Run = r.run(f, n) },
		"scale":   func(f string, n ast.Node) { s.Scale = r.scale(f, n) },
		"restart": func(f string, n ast.Node) { s.Restart = r.restart(f, n) },
		"warm":    func(f string, n ast.Node) { s.Warm = r.number(f, n, 0, 100) },
		"replicas": func(f string, n ast.Node) {
			replicas := r.number(f, n, 0, cluster.MaxInstances)
			s.Replicas = &replicas
		},
		"blend": func(f string, n ast.Node) {
			percent := r.number(f, n, 0, 100)
			s.Blend = &percent
		},
		"instances": func(f string, n ast.Node) {
			r.list(f, n, func(f string, n ast.Node) { s.Instances = append(s.Instances, r.instance(f, n)) })
		},
	})
	for i := range r.faults {
		r.faults[i].Object = r.object // the name may stand below the mistake
	}
	return s
}

func (r *reader) port(field string, n ast.Node) cluster.Port {
	p := cluster.Port{Protocol: cluster.TCP}
	r.mapping(field, n, fields{
		"name": func(f string, n ast.Node) { p.Name = r.text(f, n) },
		"port": func(f string, n ast.Node) { p.Port = uint16(r.number(f, n, 1, 65535)) },
		"protocol": func(f string, n ast.Node) {
			proto, err := cluster.ParseProto(r.text(f, n))
			if err != nil {
				r.fault(f, n, err.Error(), "")
				proto = cluster.TCP
			}
			p.Protocol = proto
		},
	})
	return p
}

// instance reads "IP:PORT" or {address, ports, weight, labels, id}.
func (r *reader) instance(field string, n ast.Node) cluster.Instance {
	i := cluster.Instance{Weight: 1}
	if n.Type() == ast.StringType {
		r.lines[field+".address"] = r.line(n)
		return r.target(field, n)
	}
	id := ""
	r.mapping(field, n, fields{
		"address": func(f string, n ast.Node) {
			at := r.target(f, n)
			i.ID, i.Addr, i.Port = at.ID, at.Addr, at.Port
		},
		"id":      func(f string, n ast.Node) { id = r.text(f, n) },
		"weight":  func(f string, n ast.Node) { i.Weight = r.number(f, n, 0, cluster.MaxWeight) },
		"labels":  func(f string, n ast.Node) { i.Labels = r.texts(f, n) },
		"standby": func(f string, n ast.Node) { i.Standby = r.truth(f, n) },
		"ports": func(f string, n ast.Node) {
			i.Ports = map[string]uint16{}
			r.entries(f, n, func(key, f string, n ast.Node) { i.Ports[key] = uint16(r.number(f, n, 1, 65535)) })
		},
	})
	if id != "" {
		i.ID = id
	}
	return i
}

func (r *reader) target(field string, n ast.Node) cluster.Instance {
	i, err := cluster.ParseInstance(r.text(field, n))
	if err != nil {
		r.fault(field, n, err.Error(), "")
	}
	return i
}

func (r *reader) address(field string, n ast.Node) netip.Addr {
	text := r.text(field, n)
	a, err := netip.ParseAddr(text)
	if err != nil {
		r.fault(field, n, fmt.Sprintf("%q is not an IP address", text), "write it as in 10.10.1.128, without a port")
	}
	return a
}

func (r *reader) network(field string, n ast.Node) netip.Prefix {
	text := r.text(field, n)
	p, err := netip.ParsePrefix(text)
	if err != nil {
		r.fault(field, n, fmt.Sprintf("%q is not a network", text), "write it as in 10.30.0.0/24; a single host as in 10.30.0.7/32")
	}
	return p
}

func (r *reader) mapping(field string, n ast.Node, known fields) {
	r.entries(field, n, func(key, f string, n ast.Node) {
		read, ok := known[key]
		if !ok {
			names := make([]string, 0, len(known))
			for name := range known {
				names = append(names, name)
			}
			slices.Sort(names)
			r.fault(f, n, unknownField, "use one of "+strings.Join(names, ", "))
			return
		}
		read(f, n)
	})
}

func (r *reader) entries(field string, n ast.Node, each func(key, field string, n ast.Node)) {
	r.lines[field] = r.line(n)
	values := []*ast.MappingValueNode{}
	switch n := n.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode: // a mapping of one entry
		values = append(values, n)
	default:
		r.fault(field, n, "a mapping is wanted here, not "+kind(n), "write it as in {key: value}")
		return
	}
	for _, v := range values {
		if _, merge := v.Key.(*ast.MergeKeyNode); merge {
			r.fault(field, v, "merge keys are not supported", "write the fields out")
			continue
		}
		name := v.Key.GetToken().Value
		inner := strings.TrimPrefix(field+"."+name, ".")
		r.lines[inner] = r.line(v.Key)
		if v.Value == nil || v.Value.Type() == ast.NullType {
			r.fault(inner, v.Key, "no value is given", "give one, or remove the field")
			continue
		}
		each(name, inner, v.Value)
	}
}

func (r *reader) list(field string, n ast.Node, each func(field string, n ast.Node)) {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		r.fault(field, n, "a list is wanted here, not "+kind(n), "write it as in [a, b]")
		return
	}
	for i, value := range list.Values {
		inner := fmt.Sprintf("%s[%d]", field, i)
		r.lines[inner] = r.line(value)
		each(inner, value)
	}
}

func (r *reader) text(field string, n ast.Node) string {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value
	case *ast.IntegerNode, *ast.BoolNode, *ast.FloatNode:
		return n.GetToken().Value // a name such as 123, as it was written
	}
	r.fault(field, n, "a text is wanted here, not "+kind(n), "put it in quotes")
	return ""
}

func (r *reader) number(field string, n ast.Node, least, most int) int {
	integer, ok := n.(*ast.IntegerNode)
	if !ok {
		r.fault(field, n, "a whole number is wanted here, not "+kind(n), fmt.Sprintf("write %d..%d without quotes", least, most))
		return 1
	}
	value, err := strconv.ParseInt(fmt.Sprint(integer.Value), 10, 64)
	if err != nil || value < int64(least) || value > int64(most) {
		r.fault(field, n, fmt.Sprintf("%v is outside %d..%d", integer.Value, least, most), "")
		return 1
	}
	return int(value)
}

func (r *reader) fault(field string, n ast.Node, what, fix string) {
	r.faults = append(r.faults, Fault{File: r.file, Line: r.line(n), Problem: cluster.Problem{Object: r.object, Field: field, What: what, Fix: fix}})
}

func (r *reader) line(n ast.Node) int {
	if n == nil || n.GetToken() == nil || n.GetToken().Position == nil {
		return 0
	}
	return n.GetToken().Position.Line
}

// kind names a node as people do.
func kind(n ast.Node) string {
	switch n := n.(type) {
	case *ast.AliasNode, *ast.AnchorNode, *ast.TagNode:
		return "an anchor, alias or tag (they are not supported)"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.StringNode:
		return fmt.Sprintf("the text %q", n.Value)
	}
	return strings.ToLower(n.Type().String())
}
