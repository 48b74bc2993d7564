package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/internal/doctor"
	"github.com/weir-lb/weir/internal/plain"
	"github.com/weir-lb/weir/internal/status"
)

type statusOptions struct {
	*app
	output outputFlag
}

func newStatusCmd(a *app, runF func(context.Context, *statusOptions) error) *cobra.Command {
	o := &statusOptions{app: a}
	c := &cobra.Command{
		Use:   "status",
		Short: "Show on one screen who leads, how etcd, nodes, launchers and services are, and what needs a person",
		Long: `Show who leads and who would follow, the members of etcd, nodes and how far their agents are, launchers, what is held back or
permitted by name, services, and what needs a person, each with the command that looks further. All of it is read from etcd; the
leader itself is asked only where its pages can be reached from here. "weir doctor" looks at more, and more closely.

The exit code is 7 when something needs a person.`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if runF != nil {
				return runF(c.Context(), o)
			}
			return o.with(c.Context(), func(s store) error { return runStatus(c.Context(), o, s) })
		},
	}
	o.output.register(c.Flags(), "text", "text", "json", "yaml")
	return c
}

func runStatus(ctx context.Context, o *statusOptions, s store) error {
	known, err := o.known(ctx, s)
	if err != nil {
		return err
	}
	picture := status.Of(known)
	if o.output.format == "text" {
		err = picture.Text(o.out)
	} else {
		err = printData(o.out, o.output.format, picture)
	}
	if err == nil && len(picture.Problems) > 0 {
		return errFound
	}
	return err
}

func (o *statusOptions) known(ctx context.Context, s store) (k status.Known, err error) {
	limited, cancel := context.WithTimeout(ctx, o.etcd.timeout)
	defer cancel()
	k.Now = o.now()
	if k.Diagnosis, err = s.Diagnose(limited); err != nil {
		if k.Diagnosis != nil { // nobody answers: the rest would only say so again
			printFindings(o.out, doctor.CheckEndpoints(&doctor.Cluster{Etcd: k.Diagnosis, Now: k.Now}), false)
		}
		return k, adviseEtcd(err)
	}
	if k.Snapshot, err = s.Snapshot(limited); err != nil {
		return k, err
	}
	if k.Fleet, err = o.told(ctx, s); err != nil {
		return k, err
	}
	if k.Operations, err = s.Operations(limited); err != nil {
		return k, err
	}
	if k.Candidates, err = s.Candidates(limited); err != nil {
		return k, err
	}
	if len(k.Candidates) > 0 {
		k.Page = askLeader(ctx, k.Candidates[0])
	}
	return k, nil
}

const (
	// leaderPatience is how long the leader's pages are waited for: the rest is worth showing without them.
	leaderPatience = 2 * time.Second
	// longestPage bounds what is read of a page, and mostLines of its lines.
	longestPage = 1 << 20
	mostLines   = 20
	longestLine = 500
)

// askLeader asks the leader itself; nil where that cannot be done from here.
func askLeader(ctx context.Context, l etcd.Candidacy) *status.Page {
	at, err := netip.ParseAddrPort(l.Pages)
	if err != nil {
		return nil
	}
	if own := l.Host != "" && l.Host == hostName(); at.Addr().IsUnspecified() && own {
		at = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), at.Port())
	} else if at.Addr().IsUnspecified() || at.Addr().IsLoopback() && !own {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, leaderPatience)
	defer cancel()
	var state struct {
		Name    string `json:"name"`
		Leading bool   `json:"leading"`
		Error   string `json:"error"`
	}
	if err := pageOf(ctx, at, "leader", func(r io.Reader) error { return json.NewDecoder(r).Decode(&state) }); err != nil || !state.Leading || state.Name != l.Name {
		return nil // somebody else answers there
	}
	p := &status.Page{Error: plain.Words(state.Error, longestLine)}
	_ = pageOf(ctx, at, "problems", func(r io.Reader) error {
		for lines := bufio.NewScanner(r); lines.Scan() && len(p.Problems) < mostLines; {
			p.Problems = append(p.Problems, plain.Words(lines.Text(), longestLine))
		}
		return nil
	})
	var work struct {
		Pending  []json.RawMessage `json:"pending"`
		Problems []struct {
			Object, What, Fix string
		} `json:"problems"`
	}
	if err := pageOf(ctx, at, "state", func(r io.Reader) error { return json.NewDecoder(r).Decode(&work) }); err == nil {
		p.Pending = len(work.Pending)
		for _, one := range work.Problems[:min(len(work.Problems), mostLines)] {
			p.Problems = append(p.Problems, plain.Words(one.Object+": "+one.What+": "+one.Fix, longestLine))
		}
	}
	return p
}

var errPage = errors.New("no such page")

func pageOf(ctx context.Context, at netip.AddrPort, name string, read func(io.Reader) error) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s/debug/%s", at, name), nil)
	if err != nil {
		return err
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return errPage
	}
	return read(io.LimitReader(answer.Body, longestPage))
}
