package doctor

// hostChecks are those of a node, in the order in which one would look.
var hostChecks = []check[*Host]{
	{"agent", "an agent runs here", Fail, agentRuns},
	{"capability", "this process may look at the kernel's rules (CAP_NET_ADMIN)", Warn, capability},
	{"etcd", "etcd can be read from here", Fail, etcdOfNode},
	{"credential", "this node's credential for etcd gives what weir rbac gives it, and no more", Warn, credential},
	{"rules", "the kernel holds what etcd says", Fail, rulesOfNode},
	{"routes", "each VIP has its route, and none leads elsewhere", Fail, routesOfNode},
	{"forwarding", "the node forwards, for the families of its VIPs", Warn, forwarding},
	{"conntrack", "the connection tracking table has room", Fail, conntrack},
	{"rp_filter", "no strict reverse path filter where there are several ways out", Warn, reversePath},
	{"route_localnet", "no interface routes 127.0.0.0/8", Warn, localnet},
	{"bridge-nf-call", "bridges with ports, and whether their packets pass the rules", Note, bridged},
	{"send_redirects", "no ICMP redirects that delay refusals", Note, redirects},
	{"flush-ruleset", "no file empties the whole ruleset when nftables is loaded", Warn, flushing},
	{"firewalld", "firewalld is not active", Note, firewalld},
	{"iptables", "rules of one kind of iptables only", Warn, mixed},
	{"neighbours", "no other program translates before Weir", Note, earlier},
	{"kernel", "the kernel's version, and tables that belong to a process", Warn, kernel},
	{"state-dir", "the snapshot file can be kept, and only the agent can change it", Fail, stateDir},
	{"clock", "the system clock is synchronised", Note, clock},
}

// CheckHost makes the findings of a node.
func CheckHost(h *Host) []Finding { return run(hostChecks, h) }

// HostEntries lists the checks of a node.
func HostEntries() []Entry { return entries(hostChecks) }
