package loadmon

import "math"

// Figures are those of the instances that were heard of of late, by id.
func (s State) Figures() map[string]Figures {
	out := make(map[string]Figures, len(s.tracks))
	for id, t := range s.tracks {
		w := t.latest
		if t.absent > 0 || !t.fresh() || w.seconds <= 0 {
			continue
		}
		f := Figures{Rate: w.opened / w.seconds, Active: float64(t.last.Active), Busy: w.busy, Utilization: math.NaN()}
		switch u := t.last.Utilization; {
		case u != nil && t.constant.stuck():
			f.Busy = min(max(t.last.Busy, MinBusy), 1)
		case u != nil:
			f.Utilization = *u
		}
		out[id] = f
	}
	return out
}
