package etcd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weir-lb/weir/cluster"
)

const leaderTTL = 5 * time.Second

// Candidate is somebody who would lead.
type Candidate struct {
	Name string        // told to people who look who leads
	TTL  time.Duration // a leader that is silent for so long is replaced; 0: 5 s. etcd grants 2 s at least

	Host, Pages string // where it runs, and the address of its pages there, for people who look; "": none
}

// Leader is the value of ops/leader/<lease>. Of several, the oldest key leads and the others wait.
type Leader struct {
	Name  string    `json:"name"`
	Since time.Time `json:"since"`           // it stands for election
	Leads time.Time `json:"leads,omitzero"`  // it was elected; zero: it was not, or that is not told yet
	Host  string    `json:"host,omitempty"`  // where it runs
	Pages string    `json:"pages,omitempty"` // the address of its pages there
}

// Lead stands for election until the context ends, and returns nil then. While elected it runs lead, whose context ends
// when the leadership is lost; when lead returns, whatever it returns, the leadership is given back at once, and it
// stands again after a pause. A member that has said nothing for two fifths of the TTL is left for the next one, by
// everything that uses the store, and the leadership goes along.
func (s *Store) Lead(ctx context.Context, c Candidate, lead func(context.Context, *Leadership) error) error {
	if err := named(c.Name); err != nil {
		return fmt.Errorf("lead as %s: %w", printable(c.Name), err)
	}
	c.TTL = cmp.Or(max(c.TTL, 0), leaderTTL)
	var b backoff
	for ctx.Err() == nil {
		t := &term{store: s, candidate: c}
		err := t.run(ctx, lead)
		if ctx.Err() != nil {
			break
		}
		if t.led {
			b.reset()
		}
		s.log.Warn("not leading", "as", c.Name, "err", err)
		b.wait(ctx)
	}
	return nil
}

// term is one lease, from its grant to its end.
type term struct {
	store     *Store
	candidate Candidate
	lease     clientv3.LeaseID
	led       bool
	stood     time.Time
	silence   *time.Timer               // ends the term when no beat was answered for as long as the lease may live
	answered  atomic.Pointer[time.Time] // when the last beat was sent that was
}

func (t *term) run(parent context.Context, lead func(context.Context, *Leadership) error) error {
	ctx, end := context.WithCancelCause(parent)
	defer end(nil)
	if err := t.begin(ctx, end); err != nil {
		return err
	}
	defer t.resign()
	defer t.silence.Stop()
	var beating sync.WaitGroup
	defer beating.Wait()
	defer end(nil) // before the wait
	beating.Go(func() { t.keep(ctx, end) })
	key, revision, err := t.campaign(ctx)
	if err != nil {
		return err
	}
	t.led = true
	t.store.log.Info("leading", "as", t.candidate.Name, "revision", revision)
	beating.Go(func() { t.announce(ctx, key, revision) })
	err = lead(ctx, &Leadership{store: t.store, key: key, revision: revision, end: end, answered: &t.answered})
	if cause := context.Cause(ctx); errors.Is(cause, cluster.ErrNotLeading) {
		return cause
	}
	return err
}

// begin gets the lease.
func (t *term) begin(ctx context.Context, end context.CancelCauseFunc) error {
	asked := time.Now()
	err := t.store.do(ctx, "stand for election", func(ctx context.Context, c *clientv3.Client) error {
		asked = time.Now()
		granted, err := c.Grant(ctx, int64((t.candidate.TTL+time.Second-1)/time.Second))
		if err != nil {
			return err
		}
		t.lease, t.candidate.TTL = granted.ID, time.Duration(granted.TTL)*time.Second
		return nil
	})
	if err != nil {
		return err
	}
	t.answered.Store(&asked)
	t.silence = time.AfterFunc(t.candidate.TTL-time.Since(asked), func() {
		end(fmt.Errorf("%w: etcd has not answered for %s", cluster.ErrNotLeading, t.candidate.TTL))
	})
	return nil
}

// keep renews the lease, through one member after the other, until it is gone or the context ends.
func (t *term) keep(ctx context.Context, end context.CancelCauseFunc) {
	b := beats{store: t.store, lease: t.lease, every: min(t.candidate.TTL/5, time.Second), wait: t.candidate.TTL * 2 / 5}
	b.answered = func(sent time.Time) {
		t.answered.Store(&sent)
		t.silence.Reset(time.Until(sent.Add(t.candidate.TTL)))
	}
	for ctx.Err() == nil {
		l, err := t.store.members.link()
		if err == nil {
			err = b.run(ctx, l)
		}
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, rpctypes.ErrLeaseNotFound):
			end(fmt.Errorf("%w: the lease is gone", cluster.ErrNotLeading))
			return
		case l != nil && lost(err):
			t.store.members.turn(l)
		}
		sleep(ctx, shortestPause)
	}
}

// campaign waits for its turn, through one member after the other: the place in the queue is the key's, not the
// connection's.
func (t *term) campaign(ctx context.Context) (key string, revision int64, err error) {
	var b backoff
	for {
		l, err := t.store.members.link()
		if err == nil {
			key, revision, err = t.stand(ctx, l)
		}
		switch {
		case err == nil:
			return key, revision, nil
		case ctx.Err() != nil:
			return "", 0, context.Cause(ctx)
		case l != nil && l.client.Ctx().Err() == nil && !lost(err):
			return "", 0, explain("stand for election", err)
		}
		b.wait(ctx)
	}
}

// stand puts the key and waits until no older one is left. It is concurrency.Election.Campaign, which could end neither
// while a member is frozen nor at the caller's wish; its keys are the same.
func (t *term) stand(ctx context.Context, l *link) (string, int64, error) {
	key := t.store.key(Key{Kind: KindLeader, ID: strconv.FormatInt(int64(t.lease), 16)})
	value, err := encode(t.standing(time.Time{}))
	if err != nil {
		return "", 0, err
	}
	absent := clientv3.Compare(clientv3.CreateRevision(key), "=", 0)
	r, err := l.client.Txn(ctx).If(absent).Then(clientv3.OpPut(key, string(value), clientv3.WithLease(t.lease))).Else(clientv3.OpGet(key)).Commit()
	if err != nil {
		return "", 0, err
	}
	revision := r.Header.Revision
	if !r.Succeeded {
		revision = r.Responses[0].GetResponseRange().Kvs[0].CreateRevision // of the attempt through another member
	}
	for {
		older := append(clientv3.WithLastCreate(), clientv3.WithMaxCreateRev(revision-1))
		r, err := l.client.Get(ctx, t.store.prefix+leaderKeys, older...)
		if err != nil {
			return "", 0, err
		}
		if len(r.Kvs) == 0 {
			return key, revision, nil
		}
		if err := awaitDeletion(ctx, l, string(r.Kvs[0].Key), r.Header.Revision+1); err != nil {
			return "", 0, err
		}
	}
}

// standing is what is told of the candidate.
func (t *term) standing(leads time.Time) Leader {
	if t.stood.IsZero() {
		t.stood = time.Now().UTC().Truncate(time.Millisecond)
	}
	return Leader{Name: t.candidate.Name, Since: t.stood, Leads: leads, Host: t.candidate.Host, Pages: t.candidate.Pages}
}

// announce tells since when it leads. Nobody depends on that, so nobody waits for it.
func (t *term) announce(ctx context.Context, key string, revision int64) {
	value, err := encode(t.standing(time.Now().UTC().Truncate(time.Millisecond)))
	if err == nil {
		err = t.store.once(ctx, func(ctx context.Context, c *clientv3.Client) error {
			same := clientv3.Compare(clientv3.CreateRevision(key), "=", revision)
			_, err := c.Txn(ctx).If(same).Then(clientv3.OpPut(key, string(value), clientv3.WithLease(t.lease))).Commit()
			return err
		})
	}
	if err != nil && ctx.Err() == nil {
		t.store.log.Debug("since when it leads is not told", "as", t.candidate.Name, "err", err)
	}
}

const leaderKeys = "ops/leader/"

func awaitDeletion(ctx context.Context, l *link, key string, from int64) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	for r := range l.client.Watch(ctx, key, clientv3.WithRev(from), clientv3.WithFilterPut()) {
		if err := r.Err(); err != nil {
			return err
		}
		if len(r.Events) > 0 {
			return nil
		}
	}
	return cmp.Or(ctx.Err(), errTurned)
}

// resign gives the lease back, and with it the key.
func (t *term) resign() {
	if err := t.store.giveBack(t.lease); err != nil {
		t.store.log.Debug("the lease is left to run out", "as", t.candidate.Name, "err", err)
	}
}
