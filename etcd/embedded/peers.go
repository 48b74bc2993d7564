package embedded

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
)

// said is the list of members that a peer gave.
type said struct {
	by      Peer
	members []listed
}

// listed is one member in such a list.
type listed struct {
	Name       string   `json:"name"`
	PeerURLs   []string `json:"peerURLs"`
	ClientURLs []string `json:"clientURLs"` // none before it was up for the first time
}

const (
	asking      = 2 * time.Second
	longestList = 1 << 20
)

// ask asks the other members for their lists, all at once; who does not answer is left out.
func (m Member) ask(ctx context.Context) []said {
	carrier, err := transport.NewTransport(m.PeerTLS.info(), asking)
	if err != nil {
		return nil // the server says so itself
	}
	defer carrier.CloseIdleConnections()
	client := &http.Client{Transport: carrier, Timeout: asking}
	answers := make([]*said, len(m.Cluster))
	var all sync.WaitGroup
	for i, p := range m.Cluster {
		if p.Name == m.Name {
			continue
		}
		all.Go(func() {
			if members, err := list(ctx, client, p.URL); err == nil {
				answers[i] = &said{p, members}
			}
		})
	}
	all.Wait()
	var out []said
	for _, a := range answers {
		if a != nil {
			out = append(out, *a)
		}
	}
	return out
}

func list(ctx context.Context, client *http.Client, peer string) (out []listed, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, peer+"/members", nil)
	if err != nil {
		return nil, err
	}
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", peer, answer.Status)
	}
	err = json.NewDecoder(io.LimitReader(answer.Body, longestList)).Decode(&out)
	return out, err
}

// judge says why this member cannot become one of those that answered: etcd itself would wait for ever. It is sure of that where
// they have been an etcd before; else it may be one of them that has the wrong list.
func (m Member) judge(answers []said, fresh bool) (sure bool, err error) {
	for _, a := range answers {
		var theirs []Peer
		up := false
		for _, l := range a.members {
			theirs = append(theirs, Peer{l.Name, first(l.PeerURLs)})
			up = up || len(l.ClientURLs) > 0
			if fresh && !m.Joins && first(l.PeerURLs) == m.own() && len(l.ClientURLs) > 0 {
				return true, fmt.Errorf("member %s at %s knows %s from before, but %s is empty: give --data-dir where its data is; "+
					"if that is lost: etcdctl member remove, member add, and start it with --initial-cluster-state existing", a.by.Name, a.by.URL, m.Name, m.Dir)
			}
		}
		if len(theirs) == 0 || sameURLs(theirs, m.Cluster) || err != nil && !up {
			continue
		}
		sure, err = sure || up, fmt.Errorf("member %s at %s has another list of members: there %s, here %s: give all of them the same --initial-cluster",
			a.by.Name, a.by.URL, initialCluster(theirs), initialCluster(m.Cluster))
	}
	return sure, err
}

// compare says what is wrong with a list beside what the data directory knows; id is this member's in it. The data decides: a
// list that is merely older than a change of members is worth a warning.
func (m Member) compare(known []Peer, id string) (warning string, err error) {
	if sameURLs(known, m.Cluster) {
		for _, p := range known {
			if p.URL == m.own() && p.Name != "" && p.Name != m.Name {
				return "", fmt.Errorf("the data in %s is that of member %s, and this is %s: give each its own --data-dir", m.Dir, p.Name, m.Name)
			}
		}
		return "", nil
	}
	common := 0
	for _, p := range known {
		if p.URL != m.own() && slices.ContainsFunc(m.Cluster, func(q Peer) bool { return q.URL == p.URL }) {
			common++
		}
	}
	self := slices.ContainsFunc(known, func(p Peer) bool { return p.URL == m.own() })
	if !self || common == 0 && len(m.Cluster) > 1 {
		return "", fmt.Errorf("the data in %s belongs to another cluster (%s; this is member %s of it), and --initial-cluster says %s: give the directory of this cluster, or an empty one",
			m.Dir, initialCluster(known), id, initialCluster(m.Cluster))
	}
	return fmt.Sprintf("--initial-cluster says %s, but the members are %s, which is what counts: give all of them the present list", initialCluster(m.Cluster), initialCluster(known)), nil
}

// sameURLs compares members by where they are: that is what etcd tells clusters apart by. One that has not been up yet has no name.
func sameURLs(a, b []Peer) bool {
	urls := func(peers []Peer) []string {
		var out []string
		for _, p := range peers {
			out = append(out, p.URL)
		}
		slices.Sort(out)
		return out
	}
	return slices.Equal(urls(a), urls(b))
}
