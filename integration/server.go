package integration

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/weir-lb/weir/etcd/embedded"
)

// server is an etcd that can be stopped and started again with its data.
type server interface {
	start() error
	stop()
	endpoint() string
}

func newServer(o Options, dir string) server {
	switch {
	case o.Members != nil:
		return o.Members
	case o.Brought:
		return brought(dir)
	case o.Etcd != "":
		return &process{program: o.Etcd, dir: dir}
	}
	return &embeddedServer{dir: dir}
}

// brought is the etcd that control centers bring along. They are started by themselves.
type brought string

func (b brought) start() error { return nil }

func (b brought) stop() {}

func (b brought) endpoint() string {
	var all []string
	for _, name := range memberNames {
		all = append(all, "unix://"+b.socket(name))
	}
	return strings.Join(all, ",")
}

func (b brought) socket(name string) string { return filepath.Join(string(b), name+".sock") }

// memberNames are those of the control centers that are members, too.
var memberNames = []string{"a", "b", "c"}

type embeddedServer struct {
	dir    string
	server *embedded.Server
}

func (s *embeddedServer) endpoint() string { return "unix://" + filepath.Join(s.dir, "sock") }

func (s *embeddedServer) start() (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	s.server, err = embedded.Start(ctx, embedded.Options{Dir: filepath.Join(s.dir, "data"), Listen: s.endpoint(), NoSync: true})
	return err
}

func (s *embeddedServer) stop() {
	if s.server != nil {
		s.server.Close()
		s.server = nil
	}
}

// process is an etcd of the distribution. Version 3.4 wants HOST:PORT even in the address of a unix socket, and makes a
// file of that name where it runs.
type process struct {
	program, dir string
	cmd          *exec.Cmd
}

const socketName = "localhost:2379"

func (p *process) endpoint() string { return "unix://" + filepath.Join(p.dir, socketName) }

func (p *process) start() error {
	const nobody = "http://127.0.0.1:1" // a single member has no peers; the address has to be there
	p.cmd = exec.Command(p.program, "--name", "weir", "--data-dir", "data", "--listen-client-urls", "unix://"+socketName,
		"--advertise-client-urls", "unix://"+socketName, "--listen-peer-urls", "http://127.0.0.1:0",
		"--initial-advertise-peer-urls", nobody, "--initial-cluster", "weir="+nobody)
	p.cmd.Dir = p.dir
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.program, err)
	}
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for time.Now().Before(deadline) {
		if conn, err := net.Dial("unix", filepath.Join(p.dir, socketName)); err == nil {
			return conn.Close()
		}
		<-tick.C
	}
	p.stop()
	return errors.New(p.program + " does not listen after 20 s")
}

func (p *process) stop() {
	if p.cmd != nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		p.cmd = nil
	}
}
