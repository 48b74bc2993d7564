package controlcenter

import (
	"strconv"

	"github.com/goccy/go-yaml/ast"

	"github.com/weir-lb/weir/cluster"
)

func (r *reader) run(field string, n ast.Node) *cluster.Run {
	run := &cluster.Run{}
	r.mapping(field, n, fields{
		"driver": func(f string, n ast.Node) { run.Driver = r.text(f, n) },
		"command": func(f string, n ast.Node) {
			r.list(f, n, func(f string, n ast.Node) { run.Command = append(run.Command, r.text(f, n)) })
		},
		"image": func(f string, n ast.Node) { run.Image = r.text(f, n) },
		"env":   func(f string, n ast.Node) { run.Env = r.texts(f, n) },
		"dir":   func(f string, n ast.Node) { run.Dir = r.text(f, n) },
		"user":  func(f string, n ast.Node) { run.User = r.text(f, n) },
		"grace": func(f string, n ast.Node) { run.Grace = r.duration(f, n) },
		"drain": func(f string, n ast.Node) { run.Drain = r.duration(f, n) },
		"log":   func(f string, n ast.Node) { run.Log = r.text(f, n) },
		"nodes": func(f string, n ast.Node) { run.Nodes = r.texts(f, n) },
		"instances": func(f string, n ast.Node) {
			r.list(f, n, func(f string, n ast.Node) { run.Instances = append(run.Instances, r.instance(f, n)) })
		},
		"resources": func(f string, n ast.Node) {
			r.mapping(f, n, fields{
				"cpu": func(f string, n ast.Node) { run.Resources.CPU = r.amount(f, n) },
				"memory": func(f string, n ast.Node) {
					if err := run.Resources.Memory.UnmarshalText([]byte(r.text(f, n))); err != nil {
						r.fault(f, n, err.Error(), "")
					}
				},
			})
		},
	})
	return run
}

func (r *reader) scale(field string, n ast.Node) *cluster.Scale {
	s := &cluster.Scale{}
	r.mapping(field, n, fields{
		"min":    func(f string, n ast.Node) { s.Min = r.number(f, n, 0, cluster.MaxInstances) },
		"max":    func(f string, n ast.Node) { s.Max = r.number(f, n, 1, cluster.MaxInstances) },
		"window": func(f string, n ast.Node) { s.Window = r.duration(f, n) },
		"idle":   func(f string, n ast.Node) { s.Idle = r.duration(f, n) },
		"metrics": func(f string, n ast.Node) {
			r.list(f, n, func(f string, n ast.Node) {
				m := cluster.ScaleMetric{}
				r.mapping(f, n, fields{
					"metric": func(f string, n ast.Node) { m.Metric = r.text(f, n) },
					"target": func(f string, n ast.Node) { m.Target = r.amount(f, n) },
				})
				s.Metrics = append(s.Metrics, m)
			})
		},
	})
	return s
}

func (r *reader) restart(field string, n ast.Node) *cluster.Restart {
	restart := &cluster.Restart{}
	r.mapping(field, n, fields{"after": func(f string, n ast.Node) { restart.After = r.number(f, n, 1, 1000) }})
	return restart
}

// texts are a mapping's values.
func (r *reader) texts(field string, n ast.Node) map[string]string {
	out := map[string]string{}
	r.entries(field, n, func(key, f string, n ast.Node) { out[key] = r.text(f, n) })
	return out
}

// amount is a number that need not be whole.
func (r *reader) amount(field string, n ast.Node) float64 {
	switch n.(type) {
	case *ast.IntegerNode, *ast.FloatNode:
		if f, err := strconv.ParseFloat(n.GetToken().Value, 64); err == nil {
			return f
		}
	}
	r.fault(field, n, "a number is wanted here, not "+kind(n), "write it as in 0.5, without quotes")
	return 1
}
