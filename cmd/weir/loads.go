package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/internal/door"
	"github.com/weir-lb/weir/internal/top"
	"github.com/weir-lb/weir/loadmon/monitor"
)

// asker asks the nodes' load monitors, for people who look.
type asker struct {
	secret func(context.Context) (string, error)
	client *monitor.Client
}

const (
	// asksAtOnce bounds how many nodes are asked at the same time.
	asksAtOnce = 64
	// loadPatience is how long all nodes together are waited for: the rest of a view is worth showing without them.
	loadPatience = 3 * time.Second
)

func (a *app) asker(s store) *asker {
	return &asker{s.Secret, a.etcd.monitors(s.Secret)}
}

func (l *asker) Close() { l.client.Close() }

// none says why nobody can be asked; "" when somebody can.
func (l *asker) none(ctx context.Context, asked []string) string {
	if len(asked) == 0 {
		return "loads are not shown: no node that could know them tells where its load monitor answers"
	}
	ctx, cancel := context.WithTimeout(ctx, loadPatience)
	defer cancel()
	token, err := l.secret(ctx)
	if err == nil && token == "" {
		err = door.ErrNoToken
	}
	if err != nil {
		return fmt.Sprintf("loads are not shown: %v", err)
	}
	return ""
}

// ask asks nodes, and hands each answer on as it comes, one at a time. It says why none of them was asked, where that is so.
func (l *asker) ask(ctx context.Context, s *cluster.Snapshot, asked []string, hear func(node string, a top.Answer)) (note string) {
	if note := l.none(ctx, asked); note != "" {
		return note
	}
	ctx, cancel := context.WithTimeout(ctx, loadPatience)
	defer cancel()
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(asksAtOnce)
	for _, name := range asked {
		g.Go(func() error {
			node, _ := s.Nodes.Get(name)
			report, problems, err := l.client.Loads(ctx, name, node)
			mu.Lock()
			defer mu.Unlock()
			hear(name, top.Answer{Report: report, Problems: problems, Err: err})
			return nil
		})
	}
	_ = g.Wait() // each answer has its own error
	return ""
}

// measured is what the load monitors of nodes say now. What cannot be known is said, and not shown.
func (a *app) measured(ctx context.Context, s store, snapshot *cluster.Snapshot, asked []string) (past *top.Past, notes []string) {
	l := a.asker(s)
	defer l.Close()
	past = &top.Past{}
	note := l.ask(ctx, snapshot, asked, func(node string, answer top.Answer) { past.Hear(node, answer, snapshot, a.now()) })
	if note != "" {
		return past, []string{note}
	}
	return past, top.Silence(top.Nodes(top.Scene{Snapshot: snapshot, Past: past, Now: a.now()}))
}

// hosting are those of the nodes that can be asked on which instances run: of the service that is named, or of any for "".
func hosting(s *cluster.Snapshot, service string) []string {
	hosts := map[string]bool{}
	for name, in := range s.Services.All() {
		if service != "" && name != service {
			continue
		}
		for _, host := range in.Hosts {
			hosts[host.Node] = true
		}
	}
	return slices.DeleteFunc(top.Asked(s), func(node string) bool { return !hosts[node] })
}

// addLoads completes what "get" lists by what the load monitors measured.
func addLoads(f top.Frame, services []controlcenter.ServiceRow, instances []controlcenter.InstanceRow, nodes []controlcenter.NodeRow) {
	ofService, ofInstance, ofNode := map[string]controlcenter.Figures{}, map[[2]string]controlcenter.Figures{}, map[string]top.Node{}
	for _, s := range f.Services {
		ofService[s.Name] = s.Figures.Figures
		for _, i := range s.Instances {
			ofInstance[[2]string{s.Name, i.ID}] = i.Figures.Figures
		}
	}
	for _, n := range f.Nodes {
		ofNode[n.Name] = n
	}
	for i, row := range services {
		services[i].Figures = ofService[row.Name]
	}
	for i, row := range instances {
		instances[i].Figures = ofInstance[[2]string{row.Service, row.ID}]
	}
	for i, row := range nodes {
		n := ofNode[row.Name]
		nodes[i].CPU, nodes[i].Memory, nodes[i].Conntrack = n.CPU, n.Memory, n.Conntrack
	}
}
