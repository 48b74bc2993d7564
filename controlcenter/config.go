package controlcenter

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/weir-lb/weir/cluster"
)

// ReadConfig reads the configuration from YAML or JSON. Unknown fields are mistakes.
func ReadConfig(file string, data []byte) (*cluster.Config, error) {
	if why := unreadable(data); why != "" {
		return nil, &Refusal{[]Fault{{File: file, Problem: cluster.Problem{Object: "the file", What: why}}}}
	}
	if strings.TrimSpace(string(data)) == "" {
		return nil, &Refusal{[]Fault{{File: file, Problem: cluster.Problem{Object: "the file", What: "it is empty", Fix: "write {} to remove the configuration"}}}}
	}
	c := &cluster.Config{}
	if err := unmarshal(data, c); err != nil {
		f := syntaxFault(file, err)
		f.Object, f.Fix = "config", "its fields are vip_pools, instance_networks, node_addresses, paused"
		return nil, &Refusal{[]Fault{f}}
	}
	return c, nil
}

// unmarshal decodes strictly. The library panics on a value with a tag of its own where a list is wanted.
func unmarshal(data []byte, c *cluster.Config) (err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("a value is not what is wanted in its place")
		}
	}()
	return yaml.UnmarshalWithOptions(data, c, yaml.Strict())
}

// PlanConfig makes a configuration into a change. It is refused when it is wrong in itself and, unless forced, with
// cluster.ErrUnsafe when services that are served now would no longer be.
func PlanConfig(s *cluster.Snapshot, next *cluster.Config, force bool) (cluster.Change, error) {
	refusal := &Refusal{}
	refusal.add(next.Validate(maps.Collect(s.Nodes.All()))...)
	if err := refusal.err(); err != nil {
		return nil, err
	}
	if harmed := harmedBy(s, next); len(harmed) > 0 && !force {
		return nil, fmt.Errorf("%w: with this configuration %d services would lose a VIP or an instance: correct it, change the services first, or use --force:\n%s",
			cluster.ErrUnsafe, len(harmed), strings.Join(harmed, "\n"))
	}
	return cluster.SetConfig{Config: next}, nil
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
