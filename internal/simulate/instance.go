package simulate

// instance serves its requests one after another, first come first served.
type instance struct {
	speed            float64 // work in seconds, done in a second
	from, to, leaves float64 // the neighbour

	free   float64   // when all that is queued is done
	total  float64   // busy time, that of the queue included
	ends   []float64 // of the requests in the queue, ascending; popped lazily
	opened uint64    // connections
	kept   int       // keep-alive connections that are open
}

// serve queues a request and says when it is done.
func (i *instance) serve(now, work float64) (end float64) {
	start := max(now, i.free)
	end = i.run(start, work)
	i.free = end
	i.total += end - start
	i.ends = append(i.ends, end)
	return end
}

// run says when work that begins at a time is done.
func (i *instance) run(at, work float64) float64 {
	for {
		speed, until := i.speed, i.from
		if at >= i.to {
			return at + work/speed
		}
		if at >= i.from {
			speed, until = i.speed*i.leaves, i.to
		}
		end := at + work/speed
		if end <= until {
			return end
		}
		work -= (until - at) * speed
		at = until
	}
}

// busy is its busy time up to now: what is queued keeps it busy from now on without a pause.
func (i *instance) busy(now float64) float64 { return i.total - max(0, i.free-now) }

// queued is the number of requests that are not done.
func (i *instance) queued(now float64) int {
	done := 0
	for done < len(i.ends) && i.ends[done] <= now {
		done++
	}
	i.ends = append(i.ends[:0], i.ends[done:]...)
	return len(i.ends)
}

// share is the part of its speed that it has now.
func (i *instance) share(now float64) float64 {
	if now >= i.from && now < i.to {
		return i.leaves
	}
	return 1
}
