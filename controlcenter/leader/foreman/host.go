package foreman

import (
	"cmp"
	"time"

	"github.com/weir-lb/weir/controlcenter/placement"
	"github.com/weir-lb/weir/loadmon"
)

// Host is what a node's load monitor said last of the node itself.
type Host struct {
	loadmon.HostLoad
	Sample time.Time // of the figures, by the node's clock
	Heard  time.Time // by ours
}

func (f *Foreman) hosts() map[string]Host {
	if f.c.Hosts == nil {
		return nil
	}
	return f.c.Hosts()
}

func (f *Foreman) heats() map[string]placement.Heat {
	out := map[string]placement.Heat{}
	for node, h := range f.hosts() {
		if h.CPU == 0 { // not known yet, as of a node that has just come back: it is not idle for that
			continue
		}
		out[node] = placement.Heat{Busy: h.CPU, Sample: h.Sample, Heard: h.Heard}
	}
	return out
}

// shares are the parts of their nodes' processors that instances take. Busy is of the processors that an instance may use.
func (f *Foreman) shares() map[string]map[string]float64 {
	hosts, out := f.hosts(), map[string]map[string]float64{}
	for service, instances := range f.c.Measured() {
		out[service] = map[string]float64{}
		for id, m := range instances {
			if h, known := hosts[m.Node]; known {
				all := float64(h.Processors)
				out[service][id] = m.Busy * min(cmp.Or(m.QuotaCPUs, all), all) / all
			}
		}
	}
	return out
}
