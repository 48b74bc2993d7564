package doctor

// The parts of the table at which it is worth a word: the kernel drops new connections of all programs when it is full.
const (
	crowded = 80 // percent
	filled  = 95
)

func conntrack(h *Host) ([]Finding, error) {
	count, most := h.Sysctls.number("net/netfilter/nf_conntrack_count"), h.Sysctls.number("net/netfilter/nf_conntrack_max")
	if count < 0 || most < 0 {
		return one(Fail, "without connection tracking no connection to a VIP is translated", "modprobe nf_conntrack; or run the agent once, which loads it",
			"the kernel has no connection tracking (net.netfilter.nf_conntrack_count is missing)"), nil
	}
	if most == 0 || count*100 < most*crowded {
		return nil, nil // 0: no limit
	}
	severity := Warn
	if count*100 >= most*filled {
		severity = Fail
	}
	return one(severity, "when the table is full the kernel drops new connections, of all programs; each connection to a VIP is one entry",
		set("net/netfilter/nf_conntrack_max", 2*most)+lasting+"; \"conntrack -L\" shows whose they are", "connection tracking holds %d of %d entries (%d %%)", count, most, count*100/most), nil
}
