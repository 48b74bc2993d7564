package controlcenter

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/weir-lb/weir/cluster"
)

// maxConfigBytes is room for a thousand nodes. The library takes time by the square of a list's length.
const maxConfigBytes = 64 << 10

// ReadConfig reads the configuration from YAML or JSON. Unknown fields are mistakes. A file that says nothing of paused keeps
// what is: whoever changes a pool must not let automatic decisions go on by it.
func ReadConfig(file string, data []byte) (set cluster.SetConfig, err error) {
	why := unreadable(data)
	if why == "" && len(data) > maxConfigBytes {
		why = fmt.Sprintf("it is larger than %d KiB", maxConfigBytes>>10)
	}
	if why != "" {
		return set, &Refusal{[]Fault{{File: file, Problem: cluster.Problem{Object: "the file", What: why}}}}
	}
	if strings.TrimSpace(string(data)) == "" {
		return set, &Refusal{[]Fault{{File: file, Problem: cluster.Problem{Object: "the file", What: "it is empty", Fix: "write {} to remove the configuration"}}}}
	}
	if f := unsupported(file, data); f != nil {
		return set, &Refusal{[]Fault{*f}}
	}
	c := &cluster.Config{}
	var says struct {
		Paused *bool `json:"paused"`
	}
	if err = unmarshal(data, c, yaml.Strict()); err == nil {
		err = unmarshal(data, &says)
	}
	if err != nil {
		f := syntaxFault(file, err)
		f.Object, f.Fix = "config", "its fields are vip_pools, instance_networks, node_addresses, paused"
		return set, &Refusal{[]Fault{f}}
	}
	return cluster.SetConfig{Config: c, KeepPause: says.Paused == nil}, nil
}

// unsupported finds anchors, aliases and tags: a file that names itself by them would be read for ever, one that doubles
// itself would fill the memory.
func unsupported(file string, data []byte) *Fault {
	parsed, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil // which decoding tells
	}
	for _, doc := range parsed.Docs {
		if doc.Body == nil {
			continue // nothing but a comment
		}
		for _, kind := range []ast.NodeType{ast.AnchorType, ast.AliasType, ast.TagType, ast.MergeKeyType} {
			if found := ast.Filter(kind, doc); len(found) > 0 {
				return &Fault{File: file, Line: (&reader{}).line(found[0]), Problem: cluster.Problem{
					Object: "config", What: "an anchor, alias or tag is not supported", Fix: "write the value itself",
				}}
			}
		}
	}
	return nil
}

// unmarshal decodes. The library panics on some values that are not what is wanted in their place.
func unmarshal(data []byte, into any, options ...yaml.DecodeOption) (err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("a value is not what is wanted in its place")
		}
	}()
	return yaml.UnmarshalWithOptions(data, into, options...)
}

// PlanConfig makes a configuration into a change. It is refused when it is wrong in itself and, unless forced, with
// cluster.ErrUnsafe when services that are served now would no longer be.
func PlanConfig(s *cluster.Snapshot, set cluster.SetConfig, force bool) (cluster.Change, error) {
	next, refusal := set.Config, &Refusal{}
	refusal.add(next.Validate(maps.Collect(s.Nodes.All()))...)
	if err := refusal.err(); err != nil {
		return nil, err
	}
	if harmed := harmedBy(s, next); len(harmed) > 0 && !force {
		return nil, fmt.Errorf("%w: with this configuration %d services would lose a VIP or an instance: correct it, change the services first, or use --force:\n%s",
			cluster.ErrUnsafe, len(harmed), strings.Join(harmed, "\n"))
	}
	return set, nil
}

// harmedBy asks Resolve itself what each service loses.
func harmedBy(s *cluster.Snapshot, next *cluster.Config) (harmed []string) {
	all := maps.Collect(s.Services.All())
	for _, name := range slices.Sorted(maps.Keys(all)) {
		after := *all[name]
		after.Config = next
		now, then := cluster.Resolve(all[name]), cluster.Resolve(&after)
		if len(then.Frontends) < len(now.Frontends) || refused(then) > refused(now) {
			harmed = append(harmed, then.Problems[0].Error())
		}
	}
	return harmed
}

func refused(r *cluster.Resolved) (n int) {
	for _, i := range r.Instances {
		if i.Status == cluster.Refused {
			n++
		}
	}
	return n
}
