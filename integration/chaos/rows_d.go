package chaos

// controlRows are faults of the control center, and of what it decides from.
var controlRows = []Row{{
	ID:       "D1",
	Fault:    "kill -9 of the control center that leads, of two",
	Expected: "the other leads after its lease (5 s) and the election; traffic does not notice",
	Target:   "t_takeover_s < 9, conn_failed 0",
	Variants: one,
	Mutation: Mutation{
		File: "cmd/weir/serve.go", Why: "a leader that is gone is waited for",
		Old: `"lease", 5*time.Second, "a leader`,
		New: `"lease", 60*time.Second, "a leader`,
	},
}, {
	ID:       "D2",
	Fault:    "a leader loses its lease and goes on writing; the leading one of two is frozen until the other leads, and goes on",
	Expected: "etcd refuses all that it writes; it finds out, and waits for its turn",
	Target:   "stale_writes 0 of 200, both_lead 0, conn_failed 0",
	Promises: []int{6},
	Variants: one,
	Mutation: Mutation{
		File: "etcd/leadership.go", Why: "a write does not ask who leads", Suite: true,
		Old: "c.Txn(ctx).If(leading).Then(write).Commit()",
		New: "c.Txn(ctx).If([]clientv3.Cmp{leading}[:0]...).Then(write).Commit()",
	},
}, {
	ID:       "D3",
	Fault:    "the control center that leads gets no answer from etcd for 15 s, while a node dies",
	Expected: "it says that it does not lead, and is not ready; it decides nothing meanwhile, and leads again afterwards",
	Target:   "t_stops_s < 7, actions 0",
	Variants: one,
	Mutation: Mutation{
		File: "etcd/lead.go", Why: "a leader that hears nothing of etcd goes on leading",
		Old: "t.silence.Reset(time.Until(sent.Add(t.candidate.TTL)))",
		New: "t.silence.Reset(time.Until(sent.Add(time.Hour)))",
	},
}, {
	ID:       "D4",
	Fault:    "the control center is cut off from all nodes while an agent is stopped beside its instance",
	Expected: "nobody can look, so nobody is declared down; once it can, the node is unwatched and keeps its traffic",
	Target:   "removed 0, conn_failed 0",
	Variants: one,
	Mutation: Mutation{
		File: "controlcenter/leader/watchman/decide.go", Why: "that nobody could look counts as having seen nothing",
		Old: "case len(l.Silent) < t.need || t.need == 0:",
		New: "case t.need < 0:",
	},
}, {
	ID:       "D5",
	Fault:    "the checks of three of five instances, on three nodes, fail at once, though they serve",
	Expected: "nothing is removed, neither while the nodes find out one after the other nor later, by a leader either; a Problem says why",
	Target:   "pool_min 5 of 5, panicking 3, conn_failed 0",
	Variants: one,
	Mutation: Mutation{
		File: "cluster/panic.go", Why: "what is known is what counts: suspects do not",
		Old: "with := bad + near(suspects, h.began(), in.Service.atOnce())",
		New: "with := bad + 0*near(suspects, h.began(), in.Service.atOnce())",
	},
}, {
	ID:       "D6",
	Fault:    "the check of an instance changes its mind each second for a minute",
	Expected: "it is out sooner than in again, more so each time",
	Target:   "changes <= 14, conn_failed 0",
	Variants: one,
	Mutation: Mutation{
		File: "loadmon/check/damper.go", Why: "an instance is well as soon as it looks so",
		Old: "return min(maxHold, time.Second<<(d.falls-1))",
		New: "return min(0, time.Second<<(d.falls-1))",
	},
}, {
	ID:       "D17",
	Fault:    "a node dies, and in the same moment the control center that leads, of two",
	Expected: "the new leader watches for a lease's time first; then the node's instance is out, and it is in again when the node is back",
	Target:   "t_out_s < 27, t_in_s < 5; then conn_failed 0",
	Variants: one,
	Mutation: Mutation{
		File: "controlcenter/leader/watchman/decide.go", Why: "no node is declared down",
		Old: "if g.blocked() || in.Paused {",
		New: "if g.blocked() || in.Paused || g.hosts > 0 {",
	},
}, {
	ID:       "D18",
	Fault:    "kill -9 of the control center that leads, of two, at any moment while a launched service is scaled from 2 to 8 instances and back, eight times",
	Expected: "the other goes on where it was: each instance runs once, as many as are wanted and no more, and never fewer than before",
	Target:   "twice 0, surplus 0, lost 0, interrupted > 0 of 8, conn_failed 0",
	Variants: one,
	Mutation: Mutation{
		File: "controlcenter/placement/service.go", Why: "instances that start are not counted, so that they are started again",
		Old: "		if m.standby() {\n			standby++\n		} else {\n			serving++",
		New: "		if m.standby() {\n			standby++\n		} else if m.ready() {\n			serving++",
	},
}}
