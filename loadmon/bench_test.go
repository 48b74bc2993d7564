package loadmon

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"
)

// One round of a leader: 1,000 services of ten instances each, on 300 nodes.
func BenchmarkRound(b *testing.B) {
	const services, instances, nodes = 1000, 10, 300
	states, now := make([]State, services), noon
	for round := 0; b.Loop(); round++ {
		now = now.Add(Interval)
		b.StopTimer()
		reports := make([]Report, nodes)
		for i := range services * instances {
			r := &reports[i%nodes]
			r.Node, r.At, r.UptimeS = fmt.Sprintf("n%03d", i%nodes), now, now.Sub(noon).Seconds()
			r.Loads = append(r.Loads, Load{
				Service: fmt.Sprintf("s%04d", i/instances), Instance: fmt.Sprintf("192.168.%d.%d:80", i/250, i%250),
				Connections: uint64(round * 500), Active: 3, Busy: 0.4, LatencyMS: 1.7,
			})
		}
		texts := make([][]byte, nodes)
		for i, r := range reports {
			texts[i], _ = json.Marshal(r)
		}
		b.StartTimer()
		measured := map[string]map[string]Measured{}
		for i, text := range texts {
			r, _, err := ReadReport(bytes.NewReader(text))
			if err != nil {
				b.Fatal(err)
			}
			accepted, _ := r.Accept(fmt.Sprintf("n%03d", i), everybody)
			for service, loads := range accepted {
				if measured[service] == nil {
					measured[service] = map[string]Measured{}
				}
				for id, m := range loads {
					measured[service][id] = m
				}
			}
		}
		for i := range states {
			in := Input{Service: fmt.Sprintf("s%04d", i), Now: now, Policy: DefaultPolicy()}
			in.Measured = measured[in.Service]
			for id := range in.Measured {
				in.Instances = append(in.Instances, Candidate{id, 1})
			}
			states[i], _ = Weights(states[i], in)
		}
	}
	b.ReportMetric(100*b.Elapsed().Seconds()/float64(b.N)/Interval.Seconds(), "%core")
}
