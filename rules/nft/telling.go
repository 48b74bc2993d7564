package nft

import (
	"fmt"
	"os"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/weir-lb/weir/rules"
)

// mayHold fails with rules.ErrRejected where a plan holds connections in a kernel that cannot tell of them. The kernel's own
// answer would be that something is missing, as where the memory of it is wrong.
func (d *Driver) mayHold(plan *rules.Plan) error {
	needed := slices.ContainsFunc(plan.Changes, func(c rules.Change) bool {
		return c.Want.Mode == rules.Hold && !d.known[familyOf(c.Frontend.VIP)][holdName]
	})
	if !needed {
		return nil
	}
	if err := d.tells(); err != nil {
		return fmt.Errorf("%w: the kernel cannot tell of packets, which needs nft_log and nfnetlink_log: %w", rules.ErrRejected, err)
	}
	return nil
}

// canTell finds out whether the kernel can log to a group. It makes and deletes a table in one transaction, which therefore
// never exists.
func (d *Driver) canTell() error {
	table := d.conn.AddTable(&nftables.Table{Name: fmt.Sprintf("weir-probe-%d", os.Getpid()), Family: nftables.TableFamilyIPv4})
	chain := d.conn.AddChain(&nftables.Chain{Name: holdName, Table: table})
	d.conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{toldBy()}})
	d.conn.DelTable(table)
	return d.conn.Flush()
}
