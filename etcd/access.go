package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/authpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"

	"github.com/weir-lb/weir/cluster"
)

// Access is who may do what, as far as this store's user may know it: root sees everybody, others see themselves.
type Access struct {
	Enabled bool // authentication is on
	Self    string
	All     bool                // Users are all; else they are Self alone
	Users   map[string][]string // the roles of each
	Roles   map[string][]Span   // what each role grants
	Err     error               // why less is known than Self could know
}

// Access asks etcd who may do what.
func (s *Store) Access(ctx context.Context) Access {
	a := Access{Self: s.self(), Users: map[string][]string{}, Roles: map[string][]Span{}}
	a.Err = s.do(ctx, "ask who may do what", func(ctx context.Context, c *clientv3.Client) (err error) {
		if a.Enabled, err = authEnabled(ctx, c); err != nil || !a.Enabled {
			return err
		}
		names, err := c.UserList(ctx)
		if err == nil {
			a.All = true
			return a.fill(ctx, c, names.Users)
		}
		if !denied(err) || a.Self == "" {
			return err
		}
		return a.fill(ctx, c, []string{a.Self})
	})
	return a
}

// self is the user that etcd takes us for.
func (s *Store) self() string {
	if s.config.User != "" || s.config.Cert == "" {
		return s.config.User
	}
	config, err := s.config.files().config()
	if err != nil || len(config.Certificates) == 0 || config.Certificates[0].Leaf == nil {
		return ""
	}
	return config.Certificates[0].Leaf.Subject.CommonName
}

// Authenticates says whether etcd asks who one is. That it turns us away is an answer, too.
func (s *Store) Authenticates(ctx context.Context) (on bool, err error) {
	err = s.do(ctx, "ask whether authentication is on", func(ctx context.Context, c *clientv3.Client) (err error) {
		on, err = authEnabled(ctx, c)
		return err
	})
	if errors.Is(err, cluster.ErrDenied) {
		return true, nil
	}
	return on, err
}

// authEnabled asks outright where etcd knows the question (3.5); that it is denied is an answer too. Before, whoever may
// list the users without being anybody finds it off, and a user who may is told so at the door.
func authEnabled(ctx context.Context, c *clientv3.Client) (bool, error) {
	r, err := c.AuthStatus(ctx)
	switch {
	case err == nil:
		return r.Enabled, nil
	case codeOf(err) != codes.Unimplemented:
		return denied(err), unlessDenied(err)
	}
	_, err = c.UserList(ctx)
	if err == nil && c.Username == "" {
		return false, nil
	}
	if err == nil {
		_, err = c.Authenticate(ctx, c.Username, c.Password)
		if errors.Is(err, rpctypes.ErrAuthNotEnabled) {
			return false, nil
		}
		return err == nil || denied(err), unlessDenied(err)
	}
	return denied(err), unlessDenied(err)
}

func unlessDenied(err error) error {
	if denied(err) {
		return nil
	}
	return err
}

func (a *Access) fill(ctx context.Context, c *clientv3.Client, users []string) error {
	for _, user := range users {
		u, err := c.UserGet(ctx, user)
		if err != nil {
			return fmt.Errorf("user %s: %w", printable(user), err)
		}
		a.Users[user] = u.Roles
		for _, name := range u.Roles {
			if _, known := a.Roles[name]; known {
				continue
			}
			r, err := c.RoleGet(ctx, name)
			if err != nil {
				return fmt.Errorf("role %s: %w", printable(name), err)
			}
			a.Roles[name] = spansOf(r.Perm)
		}
	}
	return nil
}

func spansOf(perms []*authpb.Permission) []Span {
	out := []Span{}
	for _, p := range perms {
		one := Span{From: string(p.Key), To: string(p.RangeEnd)}
		switch len(p.RangeEnd) {
		case 0:
			one.To = one.From + "\x00"
		case 1:
			if p.RangeEnd[0] == 0 {
				one.To = "" // all that follows
			}
		}
		one.Read, one.Write = p.PermType != authpb.WRITE, p.PermType != authpb.READ
		out = append(out, one)
	}
	return out
}

// nodeRole begins the name of a node's role.
const nodeRole = "weir-node-"

// RoleNamed is the role that Weir prescribes under a name.
func RoleNamed(name string) (role Role, known bool) {
	var nodes []string
	if node, ok := strings.CutPrefix(name, nodeRole); ok && cluster.ValidName(node) == "" {
		nodes = []string{node}
	}
	for _, r := range Roles(nodes...) {
		if r.Name == name {
			return r, true
		}
	}
	return Role{}, false
}

// Spans are what the role grants below a prefix.
func (r Role) Spans(prefix string) []Span {
	var out []Span
	for _, g := range r.Grants {
		s := Span{From: prefix + g.Key, To: prefix + g.Key + "\x00", Read: true, Write: g.Permission == ReadWrite}
		if g.Prefix {
			s.To = prefixEnd(s.From)
		}
		out = append(out, s)
	}
	return out
}
