package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/etcd/embedded"
	"github.com/weir-lb/weir/internal/lab"
	"github.com/weir-lb/weir/internal/stats"
)

// stage is the cluster that the demo plays on: a lab, an etcd on a unix socket (which every namespace can reach), an
// agent process on each node, and a control center beside one of them.
type stage struct {
	options Options
	dir     string
	lab     *lab.Lab
	cluster *lab.Cluster
	server  *embedded.Server
	store   *etcd.Store
	started map[string]*exec.Cmd // agents, launchers and the control center, by name
	servers []*lab.Instance
	log     io.Writer // what the agents say
}

const (
	service = "a"
	nodes   = 3
	port    = 80
)

var (
	vip  = netip.MustParseAddr("10.10.1.128")
	vips = netip.MustParsePrefix("10.10.1.0/24")
	// frontend is the classic example's.
	frontend = netip.AddrPortFrom(vip, 8080)
)

// build sets the stage up, with so many hosts on which instances run already; what it has built by the time of an error is
// still to be struck.
func build(ctx context.Context, o Options, hosts int) (*stage, error) {
	s := &stage{options: o, started: map[string]*exec.Cmd{}}
	var err error
	if s.dir, err = os.MkdirTemp("", "weir-demo-"); err != nil {
		return s, err
	}
	if s.log, err = os.Create(filepath.Join(s.dir, "agents.log")); err != nil {
		return s, err
	}
	if s.lab, err = lab.New("demo"); err != nil {
		return s, err
	}
	if s.cluster, err = lab.NewCluster(s.lab, nodes, hosts); err != nil {
		return s, err
	}
	if err = s.cluster.RouteVIPs(s.cluster.Client, s.cluster.Nodes[0], vips); err != nil {
		return s, err
	}
	for _, host := range s.cluster.Instances {
		address := netip.AddrPortFrom(host.Addr4, port)
		server, err := lab.Serve(host.Namespace, address.String(), address)
		if err != nil {
			return s, err
		}
		s.servers = append(s.servers, server)
	}
	if err = s.startStore(ctx); err != nil {
		return s, err
	}
	if s.store, err = etcd.Open(ctx, etcd.Config{Endpoints: []string{s.endpoint()}}); err != nil {
		return s, err
	}
	for i := range nodes {
		if err = s.startAgent(i); err != nil {
			return s, err
		}
	}
	if err = s.startControlCenter(); err != nil {
		return s, err
	}
	return s, s.awaitAgents(ctx, nodes)
}

func (s *stage) endpoint() string { return "unix://" + filepath.Join(s.dir, "etcd.sock") }

func (s *stage) startStore(ctx context.Context) (err error) {
	s.server, err = embedded.Start(ctx, embedded.Options{Dir: filepath.Join(s.dir, "etcd"), Listen: s.endpoint(), NoSync: true})
	return err
}

func nodeName(i int) string { return fmt.Sprintf("n%d", i+1) }

// startAgent starts a node's agent as a process of its own, as an operator would.
func (s *stage) startAgent(i int) error {
	state := filepath.Join(s.dir, nodeName(i))
	if err := os.MkdirAll(state, 0o700); err != nil {
		return err
	}
	loads := netip.AddrPortFrom(s.cluster.Nodes[i].Addr4, 9647)
	args := []string{"agent", "--node", nodeName(i), "--etcd", s.endpoint(), "--state-dir", state, "--listen", "127.0.0.1:9646", "--load-listen", loads.String(), insecure}
	return s.start(nodeName(i), s.cluster.Nodes[i], append(args, s.options.AgentArgs...))
}

// insecure lets load monitors be asked without TLS: there is nobody on the switch but us.
const insecure = "--insecure-etcd"

// startControlCenter starts a control center beside the agent of n1.
func (s *stage) startControlCenter() error {
	return s.start("cc1", s.cluster.Nodes[0], []string{"controlcenter", "serve", "--name", "cc1", "--etcd", s.endpoint(), insecure})
}

func (s *stage) start(name string, on *lab.Host, args []string) error {
	cmd := exec.Command(s.options.Program, args...)
	cmd.Stdout, cmd.Stderr = s.log, s.log
	if err := on.Start(cmd); err != nil {
		return err
	}
	s.started[name] = cmd
	return nil
}

// awaitAgents waits until so many nodes are alive.
func (s *stage) awaitAgents(ctx context.Context, want int) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	err := s.store.WatchApplied(ctx, func(alive map[string]bool, _ map[string]cluster.Applied) bool { return len(alive) >= want })
	if err != nil {
		return fmt.Errorf("wait for %d agents (they write to %s/agents.log): %w", want, s.dir, err)
	}
	return nil
}

// publish publishes the service with these weights and waits until all live nodes have it.
func (s *stage) publish(ctx context.Context, weights []int) (controlcenter.Progress, error) {
	a := &cluster.Service{Name: service, VIPs: []netip.Addr{vip}, Ports: []cluster.Port{{Port: frontend.Port(), Protocol: cluster.TCP}}}
	a.Check = &cluster.Check{TCP: &cluster.TCPCheck{}, Interval: cluster.Duration(time.Second)}
	for i, weight := range weights {
		instance, err := cluster.ParseInstance(s.instance(i))
		if err != nil {
			return controlcenter.Progress{}, err
		}
		instance.Weight = weight
		a.Instances = append(a.Instances, instance)
	}
	done, err := controlcenter.Publish(ctx, s.store, []controlcenter.Entry{{Service: a}}, controlcenter.How{Force: true})
	if err != nil {
		return controlcenter.Progress{}, err
	}
	return s.await(ctx, done[0].Revision)
}

// drain takes one instance out.
func (s *stage) drain(ctx context.Context, i int) (controlcenter.Progress, error) {
	snapshot, err := s.store.Snapshot(ctx)
	if err != nil {
		return controlcenter.Progress{}, err
	}
	yes := true
	change, err := controlcenter.PlanAdmin(snapshot, [2]string{service, s.instance(i)}, controlcenter.Word{Drain: &yes}, time.Now())
	if err != nil {
		return controlcenter.Progress{}, err
	}
	revision, err := s.store.Commit(ctx, change)
	if err != nil {
		return controlcenter.Progress{}, err
	}
	return s.await(ctx, revision)
}

func (s *stage) await(ctx context.Context, revision int64) (controlcenter.Progress, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return controlcenter.Wait(ctx, s.store, controlcenter.Awaited{Revision: revision, Services: []string{service}}, nil)
}

func (s *stage) instance(i int) string {
	return netip.AddrPortFrom(s.cluster.Instances[i].Addr4, port).String()
}

// connect opens connections from every node at once and sorts them by the instance that answered.
func (s *stage) connect(ctx context.Context, weights map[string]int) ([]NodeShares, error) {
	out := make([]NodeShares, nodes)
	g, ctx := errgroup.WithContext(ctx)
	for i, node := range s.cluster.Nodes {
		g.Go(func() error {
			result, err := lab.Flood(ctx, node.Namespace, lab.Load{Frontend: frontend, Connections: s.options.Connections})
			out[i] = NodeShares{Node: nodeName(i), Failed: result.Failed, Counts: result.ByID, ChiSquareP: stats.ChiSquareP(result.ByID, weights)}
			return err
		})
	}
	return out, g.Wait()
}

// kill ends an agent without warning.
func (s *stage) kill(i int) error {
	if err := s.started[nodeName(i)].Process.Kill(); err != nil {
		return err
	}
	s.bury(nodeName(i))
	return nil
}

// bury waits for a process that was killed.
func (s *stage) bury(name string) {
	_ = s.started[name].Wait() // it says "killed", which is what was asked for
	delete(s.started, name)
}

// last is what the processes of the stage said last, for an error that is theirs.
func (s *stage) last(lines int) string {
	text, err := os.ReadFile(filepath.Join(s.dir, "agents.log"))
	if err != nil {
		return err.Error()
	}
	said := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(said[max(0, len(said)-lines):], "\n")
}

// strike removes everything, whatever happened before.
func (s *stage) strike() error {
	var errs []error
	if s.store != nil {
		errs = append(errs, s.store.Close())
	}
	if s.lab != nil {
		errs = append(errs, s.lab.Close())
	}
	for _, cmd := range s.started {
		_ = cmd.Wait()
	}
	if s.server != nil {
		s.server.Close()
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}
