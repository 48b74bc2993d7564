package chaos

// storeRows are faults of etcd.
var storeRows = []Row{{
	ID:       "C1",
	Fault:    "kill -9 of the leader of three members, three times",
	Expected: "a publish that asked the leader gets through by itself; agents keep what they have",
	Target:   "write_outage_s < 8, conn_failed 0, live_broken 0",
	Promises: []int{1},
	Variants: one,
	Mutation: Mutation{
		File: "etcd/store.go", Why: "a request is not tried again with the next member", Suite: true,
		Old: "for n := 0; n < len(s.config.Endpoints) || time.Since(begin) < patience; n++ {",
		New: "for n := 0; n < 1; n++ {",
	},
}, {
	ID:       "C2",
	Fault:    "SIGSTOP of the leader for 10 s, then SIGCONT",
	Expected: "writes go on through the others, also of who asked the frozen one; nothing old reaches a kernel",
	Target:   "write_outage_s < 5, write_through_frozen_s < 7, stale_applied 0, conn_failed 0",
	Promises: []int{1},
	Variants: one,
	Mutation: Mutation{
		File: "etcd/store.go", Why: "a member that says nothing is waited for", Suite: true,
		Old: "const patience = 5 * time.Second",
		New: "const patience = 60 * time.Second",
	},
}, {
	ID:       "C3",
	Fault:    "SIGSTOP of the member that the agent listens to, four times",
	Expected: "the agent moves to the next member; its rules forward meanwhile",
	Target:   "t_detect <= 6 s, from the fault until what was published meanwhile is applied; conn_failed 0",
	Promises: []int{1},
	Variants: one,
	Mutation: Mutation{
		File: "etcd/members.go", Why: "the store stays with its member",
		Old: "\tm.now = nil\n\tm.at++\n\t_ = from",
		New: "\tm.now = nil\n\t_ = from",
	},
}, {
	ID:       "C4",
	Fault:    "two of three members away for 45 s",
	Expected: "traffic untouched; publish says why it cannot; agents say so and go on when etcd does",
	Target:   "conn_failed 0, live_broken 0, t_resume_s < 15",
	Promises: []int{1},
	Variants: one,
	Mutation: Mutation{
		File: "etcd/watch.go", Why: "an etcd that does not answer is taken for an empty one",
		Old: "\t\ts.status.away(err)\n\t\ts.log.Debug(\"watch interrupted\"",
		New: "\t\ts.status.away(err)\n\t\tempty := cluster.NewDraft()\n\t\tempty.Ready(true)\n\t\tdeliver(empty.Snapshot(w.view.revision))\n\t\ts.log.Debug(\"watch interrupted\"",
	},
}, {
	ID:       "C5",
	Fault:    "1,000 changes and 5 deletions while the agent is cut off, then a compaction",
	Expected: "the agent lists again and learns of the deletions too",
	Target:   "diff 0, conn_failed 0",
	Variants: one,
	Mutation: Mutation{
		File: "etcd/watch.go", Why: "after a compaction the agent does not list again",
		Old: "case IsCompacted(err):\n\t\tw.list = true\n",
		New: "case IsCompacted(err):\n",
	},
}, {
	ID:       "C6",
	Fault:    "etcd is wiped under an agent, which then also starts anew",
	Expected: "told by the revision; all deletions are held until an operator accepts them",
	Target:   "t_detect <= 8 s, conn_failed 0, live_broken 0",
	Promises: []int{1, 4},
	Variants: one,
	Mutation: Mutation{
		File: "etcd/guard.go", Why: "a list is always believed",
		Old: "func suspectList(a absence) string {\n\tswitch {",
		New: "func suspectList(a absence) string {\n\tif a.frontends >= 0 {\n\t\treturn \"\"\n\t}\n\tswitch {",
	},
}, {
	ID:       "C7",
	Fault:    "an older backup of etcd is restored",
	Expected: "alarm; what is missing since is held until an operator accepts it",
	Target:   "alarm 1, t_detect <= 8 s, conn_failed 0",
	Promises: []int{1, 4},
	Variants: one,
	Mutation: Mutation{
		File: "etcd/guard.go", Why: "a revision that fell says nothing",
		Old: "case a.fell:", New: "case a.fell && a.frontends < 0:",
	},
}, {
	ID:       "C8",
	Fault:    "etcd is out of space (quota 16 MiB) and read-only",
	Expected: "publish says why and what to do; agents live, also one that starts now; nobody storms",
	Target:   "requests_per_agent_s <= 1, conn_failed 0",
	Promises: []int{1},
	Variants: one,
	Mutation: Mutation{
		File: "etcd/backoff.go", Why: "no pause between attempts",
		Old: "longestPause  = 5 * time.Second",
		New: "longestPause  = 100 * time.Millisecond",
	},
}, {
	ID:       "C10",
	Fault:    "the lease of a node's presence is revoked by hand",
	Expected: "the node registers with a new one",
	Target:   "out_of_pool_s < 4, conn_failed 0",
	Variants: one,
	Quick:    one,
	Mutation: Mutation{
		File: "etcd/alive.go", Why: "the lost lease is kept",
		Old: "\t\t\tp.lease = clientv3.NoLease\n",
		New: "\t\t\ts.log.Debug(\"the lease is gone\")\n",
	},
}, {
	ID:       "C11",
	Fault:    "etcd stands still for 200 ms in each second, as with a slow disk",
	Expected: "publishes take longer and none fails",
	Target:   "publish_p99_ms < 2000, conn_failed 0",
	Variants: one,
	Mutation: Mutation{
		File: "etcd/store.go", Why: "a request has no time to wait", Suite: true,
		Old: "const patience = 5 * time.Second",
		New: "const patience = 50 * time.Millisecond",
	},
}, {
	ID:       "C12",
	Fault:    "half of etcd's packets are lost, and all are delayed by 100 ms each way",
	Expected: "the agent converges, with few connections",
	Target:   "t_converge_s < 45, connections_per_s < 2, conn_failed 0",
	Variants: one,
	Mutation: Mutation{
		File: "etcd/watch.go", Why: "the first failure of a watch is its last",
		Old: "\t\ts.status.away(err)\n\t\ts.log.Debug(\"watch interrupted\", \"err\", err)\n\t\tw.backoff.wait(ctx)",
		New: "\t\ts.status.away(err)\n\t\t<-ctx.Done()",
	},
}, {
	ID:       "C14",
	Fault:    "the agent's certificate runs out; etcd's runs out; etcd's comes from another CA; each is renewed",
	Expected: "not ready, with the reason; rules kept; the new files are used without a restart",
	Target:   "t_reload_s < 15, conn_failed 0, live_broken 0",
	Promises: []int{1, 7},
	Variants: one,
	Mutation: Mutation{
		File: "etcd/tls.go", Why: "the files are read once",
		Old: "func (c *credential) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {\n\tconfig, err := c.files.config()\n",
		New: "var loaded *tls.Config\n\nfunc (c *credential) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {\n" +
			"\tvar err error\n\tif loaded == nil {\n\t\tloaded, err = c.files.config()\n\t}\n\tconfig := loaded\n",
	},
}, {
	ID:       "C15",
	Fault:    "the agent's role is revoked, and granted again",
	Expected: "not ready, with the reason, also after a new start; rules kept",
	Target:   "rules_kept_percent 100, conn_failed 0",
	Promises: []int{1},
	Variants: one,
	Mutation: Mutation{
		File: "etcd/probe.go", Why: "who may watch is not asked again whether it still may",
		Old: "if !due && w.store.horizon.silence() < w.options.Probe {",
		New: "if w.store.horizon.silence() < w.options.Probe {",
	},
}, {
	ID:       "C18",
	Fault:    "etcd 3.4.23 of the distribution and 3.7.3, three members each, one of which dies",
	Expected: "publish, drain, conflict, change, withdraw work on both; etcd itself does not let the two form one cluster",
	Target:   "versions_passed 2, conn_failed 0",
	Variants: one,
	Mutation: Mutation{
		File: "etcd/watch.go", Why: "the watch begins one revision late",
		Old: "clientv3.WithRev(w.view.revision+1)", New: "clientv3.WithRev(w.view.revision+2)",
	},
}, {
	ID:       "C20",
	Fault:    "etcd frozen for 25 s, and away for 25 s, with 1,000 services",
	Expected: "the agent waits quietly",
	Target:   "agent CPU < 2 % of a core",
	Variants: one,
	Mutation: Mutation{
		File: "etcd/backoff.go", Why: "no pause between attempts",
		Old: "\tb.pause = min(max(2*b.pause, shortestPause), longestPause)",
		New: "\tb.pause = min(max(2*b.pause, shortestPause), time.Millisecond)",
	},
}}
