package nft

import (
	"fmt"

	"github.com/google/nftables"
)

// Priority is that of our translating chains: what nft calls dstnat.
const Priority = -100

// Neighbour is a base chain of another program: a place where it, too, hooks into the kernel.
type Neighbour struct {
	Family, Table, Chain string
	Kind, Hook           string // "nat", "prerouting"
	Priority             int
}

// compat are the base chains that iptables-nft makes, by the names of its tables.
var compat = map[string]bool{"filter": true, "nat": true, "mangle": true, "raw": true, "security": true}

// Compat says whether the chain looks like one of iptables-nft.
func (n Neighbour) Compat() bool {
	return (n.Family == "ip" || n.Family == "ip6") && compat[n.Table] && compatChains[n.Chain]
}

var compatChains = map[string]bool{"PREROUTING": true, "INPUT": true, "FORWARD": true, "OUTPUT": true, "POSTROUTING": true}

// Neighbours lists the base chains of other programs in the calling thread's network namespace. Only their heads are
// read, and only for who asks: the agent never does.
func Neighbours() ([]Neighbour, error) {
	conn, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("open nftables socket: %w", classify(err))
	}
	var out []Neighbour
	for _, f := range neighbourhoods {
		chains, err := conn.ListChainsOfTableFamily(f.family)
		if err != nil {
			return nil, fmt.Errorf("list the chains of family %s: %w", f.name, classify(err))
		}
		for _, c := range chains {
			if c.Hooknum == nil || c.Priority == nil || c.Table.Name == tableName && f.family != nftables.TableFamilyINet {
				continue
			}
			out = append(out, Neighbour{Family: f.name, Table: c.Table.Name, Chain: c.Name, Kind: string(c.Type), Hook: hookNames[*c.Hooknum], Priority: int(*c.Priority)})
		}
	}
	return out, nil
}

// neighbourhoods are the families whose packets can be ours.
var neighbourhoods = []struct {
	name   string
	family nftables.TableFamily
}{{"ip", nftables.TableFamilyIPv4}, {"ip6", nftables.TableFamilyIPv6}, {"inet", nftables.TableFamilyINet}}

var hookNames = map[nftables.ChainHook]string{
	*nftables.ChainHookPrerouting: "prerouting", *nftables.ChainHookInput: "input", *nftables.ChainHookForward: "forward",
	*nftables.ChainHookOutput: "output", *nftables.ChainHookPostrouting: "postrouting",
}

// Owned says whether a living process owns our table, so that nobody else can change it.
func (d *Driver) Owned() (bool, error) {
	for _, f := range families {
		table, err := d.find(f)
		if err != nil {
			return false, err
		}
		if table != nil && table.Owner != 0 {
			return true, nil
		}
	}
	return false, nil
}
