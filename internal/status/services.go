package status

import (
	"fmt"
	"maps"
	"slices"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
)

// services counts them by how they are, and says of those that are not as they should be.
func services(k Known) (out Services, problems []Problem) {
	all := maps.Collect(k.Snapshot.Services.All())
	for _, name := range slices.Sorted(maps.Keys(all)) {
		r := cluster.Resolve(all[name])
		taking, failing := 0, 0
		for _, i := range r.Instances {
			if i.Takes() {
				taking++
			}
			if i.Status == cluster.Panic {
				failing++
			}
		}
		scaled, there := k.Operations.Scaled[name]
		due := controlcenter.Due(all[name], scaled, there)
		say := func(format string, args ...any) {
			problems = append(problems, Problem{"service " + name + ": " + fmt.Sprintf(format, args...), "weir describe service " + name})
		}
		switch {
		case failing > 0:
			out.Panic++
			say("%d of %d instances fail their checks, and are used all the same", failing, len(r.Instances))
		case taking == 0 && due == 0 && len(r.Instances) == 0 && all[name].Service.Launched():
			out.Asleep++
		case taking == 0:
			out.Zero++
			say("no instance takes connections: clients are refused")
		case taking < due:
			out.Short++
			say("%d of %d instances take connections", taking, due)
		default:
			out.Ready++
		}
	}
	return out, problems
}
