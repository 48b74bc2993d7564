package chaos

// inputRows are bad inputs.
var inputRows = []Row{{
	ID:       "E1",
	Fault:    "100,000 values in etcd that nobody can read, among 100 good services",
	Expected: "skipped, counted, told; the others are served",
	Target:   "good_applied_percent 100, rss_peak_mb < 600",
	Promises: []int{4},
	Variants: one,
	Mutation: Mutation{
		File: "etcd/view.go", Why: "a value that cannot be read ends the agent",
		Old: "\t\tv.draft.Problem(e.key, malformed(e.key, err))\n",
		New: "\t\tpanic(malformed(e.key, err))\n",
	},
}, {
	ID:       "E2",
	Fault:    "names of 64, 129 and 255 bytes, other alphabets, look-alikes, blanks, dots",
	Expected: "refused by publish; as keys in etcd skipped",
	Target:   "accepted 0",
	Promises: []int{4},
	Variants: one,
	Mutation: Mutation{
		File: "cluster/validate.go", Why: "any name goes",
		Old: "if len(name) > maxName || !namePattern.MatchString(name) {",
		New: "if name == \"\" {",
	},
}, {
	ID:       "E3",
	Fault:    "commands for nft, iptables-restore and the shell in each text of a service, 1,000 times",
	Expected: "nothing is executed, nothing of it stands in the kernel, nobody else's table changes",
	Target:   "foreign_changes 0, served_wrongly 0",
	Promises: []int{4},
	Variants: one,
	Mutation: Mutation{
		File: "cluster/validate.go", Why: "any instance id goes",
		Old: "if len(id) > maxName || !idPattern.MatchString(id) {",
		New: "if id == \"\" {",
	},
}, {
	ID:       "E4",
	Fault:    "two operators claim one VIP at the same moment, 50 times",
	Expected: "one gets it, the other is told whose it is; all nodes agree",
	Target:   "nodes_equal_percent 100",
	Promises: []int{4},
	Variants: one,
	Mutation: Mutation{
		File: "etcd/publish.go", Why: "a reservation is not made conditional on being the first", Suite: true,
		Old: "\t\t\tr.ifs = append(r.ifs, clientv3.Compare(clientv3.CreateRevision(key), \"=\", 0))\n",
		New: "",
	},
}, {
	ID:       "E5",
	Fault:    "an instance that is the service's own VIP, another's, or in a chain of three",
	Expected: "refused by publish, left out by agents",
	Target:   "packets <= 1",
	Promises: []int{4},
	Variants: one,
	Mutation: Mutation{
		File: "cluster/resolve.go", Why: "agents let an instance be a VIP",
		Old: "case in.VIPs[s.Instance.Addr]:", New: "case in.VIPs[s.Instance.Addr] && i < 0:",
	},
}, {
	ID:       "E6",
	Fault:    "loopback, metadata, multicast, broadcast, mapped, zoned, octal and other addresses that are no host's, as VIP and as instance",
	Expected: "refused by publish, left out by agents",
	Target:   "leaks 0",
	Promises: []int{4},
	Variants: one,
	Mutation: Mutation{
		File: "cluster/refuse.go", Why: "the address of metadata services goes",
		Old: "case addr.IsLinkLocalUnicast():", New: "case addr.IsLinkLocalUnicast() && addr.Is6():",
	},
}, {
	ID:       "E7",
	Fault:    "VIPs that are a node's address, an instance's, etcd's, or outside the pools",
	Expected: "refused by publish, left out by agents",
	Target:   "accepted 0",
	Promises: []int{4},
	Variants: one,
	Mutation: Mutation{
		File: "cluster/refuse.go", Why: "pools bound nothing",
		Old: "\t\treturn fmt.Sprintf(\"%s is outside the VIP pools %v\", addr, c.VIPPools)\n",
		New: "\t\treturn \"\"\n",
	},
}, {
	ID:       "E9",
	Fault:    "1,000 instances in one service",
	Expected: "all of them are used",
	Target:   "apply_ms < 5000, conn_failed 0",
	Variants: one,
	Mutation: Mutation{
		File: "cluster/resolve.go", Why: "only some of many instances are used",
		Old: "case i >= MaxInstances:", New: "case i >= 100:",
	},
}, {
	ID:       "E10",
	Fault:    "ports 0, 65536, negative, ranges, names; TCP and UDP on one address and port",
	Expected: "the first are refused, the last are both served",
	Target:   "served_wrongly 0",
	Promises: []int{4},
	Variants: one,
	Mutation: Mutation{
		File: "cluster/validate.go", Why: "port 0 goes",
		Old: "\t\tif p.Port == 0 {", New: "\t\tif p.Port == 0 && i < 0 {",
	},
}, {
	ID:       "E12",
	Fault:    "terminal escapes, NUL and marks that turn text around, in names, labels, reasons, keys and arguments",
	Expected: "escaped in all that is printed",
	Target:   "raw_printed 0",
	Promises: []int{4},
	Variants: one,
	Mutation: Mutation{
		File: "cmd/weir/safewriter.go", Why: "what is printed is not escaped",
		Old: "unicode.IsGraphic(r) }", New: "unicode.IsGraphic(r) || r > 0 }",
	},
}, {
	ID:       "E13",
	Fault:    "unknown fields and a newer version, in a file and in etcd",
	Expected: "refused by publish; agents keep the last value that they understand, and say so",
	Target:   "served_wrongly 0",
	Promises: []int{4},
	Variants: one,
	Quick:    one,
	Mutation: Mutation{
		File: "etcd/codec.go", Why: "unknown fields are passed over",
		Old: "\td.DisallowUnknownFields()\n", New: "\td.UseNumber()\n",
	},
}, {
	ID:       "E14",
	Fault:    "a value of 1.6 MB, JSON nested 500,000 deep, a YAML file that grows without end",
	Expected: "refused, within bounded time and memory",
	Target:   "served_wrongly 0, rss_peak_mb < 300, refused_within_s < 5",
	Promises: []int{4},
	Variants: one,
	Mutation: Mutation{
		File: "etcd/codec.go", Why: "no value is too large",
		Old: "if len(value) > cluster.MaxFileBytes {", New: "if len(value) < 0 {",
	},
}}
