package main

import (
	"context"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/agent"
	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/internal/doctor"
	"github.com/weir-lb/weir/internal/runner"
	"github.com/weir-lb/weir/rules"
	"github.com/weir-lb/weir/rules/nft"
)

type agentDoctorOptions struct {
	doctorOptions
	viewpoint
	stateDir string
}

func newAgentDoctorCmd(a *app) *cobra.Command {
	o := &agentDoctorOptions{doctorOptions: doctorOptions{app: a}}
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what keeps this node from working, or would one day, and say how to mend it",
		Long: `Look at this node: the agent, its rules against etcd, the VIP routes, kernel settings, connection tracking, other programs'
rules. Nothing is changed. Needs CAP_NET_ADMIN to see the rules; works without etcd, and says so then.
Give it the flags that the agent has.`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return runAgentDoctor(c.Context(), o) },
	}
	c.Flags().StringVar(&o.stateDir, "state-dir", "/var/lib/weir", "the agent's; empty: it keeps no snapshot file")
	o.viewpoint.register(c.Flags())
	o.doctorOptions.register(c)
	return c
}

func runAgentDoctor(ctx context.Context, o *agentDoctorOptions) error {
	if err := o.driver.check(); err != nil {
		return err
	}
	h := doctor.Gather(doctor.Where{StateDir: o.stateDir})
	h.Snapshot = doctor.Learned(o.published(ctx))
	h.Prefix, h.Access = o.access(ctx, h.Published() != nil)
	h.Rules, h.Routes = o.lookAtRules(ctx, h)
	return o.tell(doctor.CheckHost(h))
}

// published is what etcd says; the reason why not is a finding of its own.
func (o *agentDoctorOptions) published(ctx context.Context) (*cluster.Snapshot, error) {
	s, err := o.open(ctx, o.etcd)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(ctx, o.etcd.timeout)
	defer cancel()
	return s.Snapshot(ctx)
}

// access asks for the rights of the credential, where etcd answers.
func (o *agentDoctorOptions) access(ctx context.Context, answers bool) (string, doctor.Fact[etcd.Access]) {
	none := doctor.Known(etcd.Access{})
	if !answers {
		return "", none
	}
	s, err := o.open(ctx, o.etcd)
	if err != nil {
		return "", none
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(ctx, o.etcd.timeout)
	defer cancel()
	return s.Prefix(), doctor.Known(s.Access(ctx))
}

// settle is how long an agent may take to write what was published a moment ago.
const settle = time.Second

// lookAtRules compares the kernel with etcd. Where they differ it looks again a moment later: somebody may just have
// published.
func (o *agentDoctorOptions) lookAtRules(ctx context.Context, h *doctor.Host) (doctor.Fact[doctor.Rules], doctor.Fact[[]agent.RouteFault]) {
	compared, vips, err := o.compare(ctx, h.Published())
	if err == nil && compared.Plan != nil && !compared.Plan.Empty() && runner.Sleep(ctx, settle) {
		if again, err := o.published(ctx); err == nil {
			h.Snapshot = doctor.Known(again)
		}
		compared, vips, err = o.compare(ctx, h.Published())
	}
	if err != nil {
		return doctor.Learned(compared, err), doctor.Learned[[]agent.RouteFault](nil, err)
	}
	return doctor.Known(compared), doctor.Learned(agent.RouteFaults(compared.VIPs, vips))
}

func (o *agentDoctorOptions) compare(ctx context.Context, s *cluster.Snapshot) (r doctor.Rules, vips []netip.Addr, err error) {
	d, have, err := o.driver.look(ctx)
	if err != nil {
		return r, nil, err
	}
	defer d.Close()
	r.Driver = d.Name()
	if n, ok := d.(*nft.Driver); ok {
		if r.Owned, err = n.Owned(); err != nil {
			return r, nil, err
		}
	}
	r.VIPs = have.Sets[rules.VIPs]
	if s != nil {
		want := rules.Build(nil, s, o.options(d))
		r.VIPs, r.Plan = want.Sets[rules.VIPs], rules.Diff(have, want)
	}
	seen := map[netip.Addr]bool{}
	for f := range have.Placed {
		if !seen[f.VIP] {
			seen[f.VIP] = true
			vips = append(vips, f.VIP)
		}
	}
	return r, vips, nil
}
