package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/pflag"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/etcd/embedded"
)

// memberFlags say whether a control center brings an etcd member along, and which. Those that mean the same are named as
// etcd's own.
type memberFlags struct {
	embedded  bool
	dir       string
	cluster   string
	state     string
	clients   []string
	advertise []string
	peers     string
	clientTLS embedded.Files
	peerTLS   embedded.Files
}

func (f *memberFlags) register(flags *pflag.FlagSet) {
	flags.BoolVar(&f.embedded, "embedded", false, "run an etcd member in this process, too; without --etcd it is the etcd that is used")
	flags.StringVar(&f.dir, "data-dir", "/var/lib/weir-controlcenter", "of the etcd member: where its data is")
	flags.StringVar(&f.cluster, "initial-cluster", "", "of the etcd member: NAME=PEER-URL of all members, the same for all of them; --name is one of these names. Left out: it is alone")
	flags.StringVar(&f.state, "initial-cluster-state", "new", `of the etcd member: "existing" where it was added to members that run already`)
	flags.StringSliceVar(&f.clients, "listen-client-urls", []string{"http://127.0.0.1:2379"}, "of the etcd member: where it listens for clients: URLs with IP addresses, or unix:///PATH")
	flags.StringSliceVar(&f.advertise, "advertise-client-urls", nil, "of the etcd member: what clients are told; left out: where it listens")
	flags.StringVar(&f.peers, "listen-peer-urls", "", "of the etcd member: where it listens for peers; left out: its URL in --initial-cluster")
	flags.StringVar(&f.clientTLS.Cert, "cert-file", "", "of the etcd member: certificate that clients see")
	flags.StringVar(&f.clientTLS.Key, "key-file", "", "of the etcd member: its key")
	flags.StringVar(&f.clientTLS.CA, "trusted-ca-file", "", "of the etcd member: CA that signs the certificates of clients; they need one then")
	flags.StringVar(&f.peerTLS.Cert, "peer-cert-file", "", "of the etcd member: certificate between peers")
	flags.StringVar(&f.peerTLS.Key, "peer-key-file", "", "of the etcd member: its key")
	flags.StringVar(&f.peerTLS.CA, "peer-trusted-ca-file", "", "of the etcd member: CA that signs the certificates of peers; they need one then")
}

// member is what the flags ask for.
func (f *memberFlags) member(name string, e etcdFlags) (m embedded.Member, err error) {
	m = embedded.Member{
		Name: name, Dir: f.dir, Clients: f.clients, Advertise: f.advertise, Peers: f.peers, ClientTLS: f.clientTLS, PeerTLS: f.peerTLS,
		Insecure: e.insecure, Joins: f.state == "existing",
	}
	if f.cluster != "" {
		m.Cluster, err = embedded.ParseCluster(f.cluster)
	}
	return m, err
}

// check finds what can be known before anything is opened.
func (f *memberFlags) check(name string, e etcdFlags, flags *pflag.FlagSet) error {
	if !f.embedded {
		for _, flag := range []string{"data-dir", "initial-cluster", "initial-cluster-state", "listen-client-urls", "advertise-client-urls", "listen-peer-urls"} {
			if flags.Changed(flag) {
				return &usageError{fmt.Errorf("--%s is of an etcd member: add --embedded", flag)}
			}
		}
		return nil
	}
	if f.state != "new" && f.state != "existing" {
		return &usageError{fmt.Errorf(`--initial-cluster-state %q: want new or existing`, f.state)}
	}
	m, err := f.member(name, e)
	if err != nil {
		return &usageError{fmt.Errorf("--initial-cluster: %w", err)}
	}
	err = m.Check()
	if errors.Is(err, embedded.ErrExposed) {
		return fmt.Errorf("%w: %w; or --insecure-etcd if the network is trusted%s", cluster.ErrUnsafe, err, e.noProof())
	}
	if err != nil {
		return &usageError{err}
	}
	return nil
}

// noProof says why a user does not stand for the certificates that are missing.
func (f etcdFlags) noProof() string {
	if f.user == "" {
		return ""
	}
	return ". --etcd-user alone is no proof: a new data directory lets everybody write until authentication is enabled"
}

// start starts the member; nil where there is to be none. It does not wait for others.
func (f *memberFlags) start(ctx context.Context, name string, e etcdFlags, logger *slog.Logger) (*embedded.Server, error) {
	if !f.embedded {
		return nil, nil
	}
	m, err := f.member(name, e)
	if err != nil {
		return nil, err
	}
	m.Logger = logger
	if n := len(m.Cluster); n > 0 && n%2 == 0 {
		logger.Warn("an even number of etcd members survives no more losses than one less: run three", "members", n)
	}
	return m.Start(ctx)
}
