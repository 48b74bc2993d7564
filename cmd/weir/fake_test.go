package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter/storetest"
	"github.com/weir-lb/weir/etcd"
)

// fake is a store for commands.
type fake struct {
	*storetest.Fake
	closed  int
	repairs map[string]cluster.Repairs
	gone    map[string]cluster.Gone
	loadmon map[string]cluster.Loadmon
	denied  error
	events  []cluster.Event
	secret  string
	status  etcd.Status

	candidates []etcd.Candidacy
}

func (f *fake) Repairs(context.Context) (map[string]cluster.Repairs, error) {
	return f.repairs, f.denied
}

func (f *fake) Gone(context.Context) (map[string]cluster.Gone, error) { return f.gone, f.denied }

func (f *fake) Loadmons(context.Context) (map[string]cluster.Loadmon, error) {
	return f.loadmon, f.denied
}

func (f *fake) Events(context.Context, string) ([]cluster.Event, error) { return f.events, f.denied }

func (f *fake) FollowEvents(_ context.Context, _ string, fn func([]cluster.Event)) error {
	fn(f.events)
	return f.denied
}

func (f *fake) Secret(context.Context) (string, error) { return f.secret, f.denied }

// Watch delivers once, and then what the store does not see.
func (f *fake) Watch(ctx context.Context, _ etcd.WatchOptions, deliver func(*cluster.Snapshot)) error {
	if s, err := f.Snapshot(ctx); err == nil {
		deliver(s)
	}
	<-ctx.Done()
	return nil
}

func (f *fake) Status() etcd.Status { return f.status }

func (f *fake) RBAC(nodes ...string) (string, error) {
	return "roles for " + strings.Join(nodes, " ") + "\n", nil
}

func (f *fake) Diagnose(context.Context) (*etcd.Diagnosis, error) {
	return &etcd.Diagnosis{Endpoints: []etcd.Endpoint{{URL: "http://127.0.0.1:2379", Given: true, Local: true, Version: "3.7.3", Member: 1, Leader: 1}}}, nil
}

func (f *fake) Candidates(context.Context) ([]etcd.Candidacy, error) { return f.candidates, f.denied }

func (f *fake) Access(context.Context) etcd.Access { return etcd.Access{} }

func (f *fake) Prefix() string { return etcd.DefaultPrefix }

func (f *fake) Close() error {
	f.closed++
	return nil
}

func newFake() *fake { return &fake{Fake: storetest.New()} }

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// result is what a command line gave.
type result struct {
	code     int
	out, err string
}

func weir(t *testing.T, f *fake, args ...string) result {
	t.Helper()
	return weirWith(t, f, "", args...)
}

func weirWith(t *testing.T, f *fake, in string, args ...string) result {
	t.Helper()
	var out, talk bytes.Buffer
	a := newApp(strings.NewReader(in), &out, &talk)
	a.open = func(context.Context, etcdFlags) (store, error) { return f, nil }
	a.now = func() time.Time { return noon }
	return result{a.execute(t.Context(), append([]string{"weir"}, args...)), out.String(), talk.String()}
}
