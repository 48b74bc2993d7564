package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weir-lb/weir/cluster"
)

// ErrFull says that etcd takes no more writes because its disk quota is used up. Reading and what is installed go on.
var ErrFull = errors.New("etcd is full and read-only")

// IsCompacted says whether the revision that was asked for is no longer there, so that one has to list again.
func IsCompacted(err error) bool { return errors.Is(err, rpctypes.ErrCompacted) }

// explain adds what was being done, the kind of failure to branch on, and what to do about it.
func explain(doing string, err error) error {
	if err == nil {
		return nil
	}
	switch {
	case errors.Is(err, cluster.ErrUnreachable) || errors.Is(err, cluster.ErrDenied): // explained further down
	case denied(err):
		return fmt.Errorf("%s: %w: %w: check the user, password or client certificate, and its roles (weir rbac)", doing, cluster.ErrDenied, err)
	case errors.Is(err, rpctypes.ErrNoSpace):
		return fmt.Errorf("%s: %w: %w: compact and defragment it or raise its quota, then: etcdctl alarm disarm", doing, ErrFull, err)
	case errors.Is(err, context.Canceled) && !lost(err):
		return fmt.Errorf("%s: %w", doing, err)
	case lost(err):
		return fmt.Errorf("%s: %w: %w: check that it runs, the endpoints and, with TLS, the certificates", doing, cluster.ErrUnreachable, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// denied: etcd answered, and the answer is that we may not. An outdated token is renewed by the client itself.
func denied(err error) bool {
	for _, e := range []error{
		rpctypes.ErrPermissionDenied, rpctypes.ErrAuthFailed, rpctypes.ErrInvalidAuthToken, rpctypes.ErrUserEmpty,
		rpctypes.ErrUserNotFound, rpctypes.ErrRoleNotFound, rpctypes.ErrInvalidAuthMgmt,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	code := codeOf(err)
	return code == codes.Unauthenticated || code == codes.PermissionDenied
}

// lost: no usable answer came. Whether a write took effect is not known then.
func lost(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errTurned) {
		return true
	}
	switch codeOf(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Internal, codes.Canceled, codes.Unknown:
		return !errors.Is(err, rpctypes.ErrCompacted)
	}
	return false
}

// kindOf gives an error its kind back: why etcd ends a watch reaches us as a text, "rpc error: code = ... desc = ...".
func kindOf(err error) error {
	text := err.Error()
	at := strings.LastIndex(text, descMark)
	if at < 0 {
		return err
	}
	known := rpctypes.Error(errors.New(text[at+len(descMark):]))
	if _, ok := known.(rpctypes.EtcdError); !ok {
		return err
	}
	return known
}

// descMark stands before what etcd says in the text of a gRPC error.
const descMark = " desc = "

func codeOf(err error) codes.Code {
	var e rpctypes.EtcdError
	if errors.As(err, &e) {
		return e.Code()
	}
	var s interface{ GRPCStatus() *status.Status }
	if errors.As(err, &s) {
		return s.GRPCStatus().Code()
	}
	return codes.OK
}
