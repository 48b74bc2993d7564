package etcd

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weir-lb/weir/cluster"
)

// TestKindOf has etcd end a watch with the reason as a text, which is all that the client passes on.
func TestKindOf(t *testing.T) {
	refusal := rpctypes.ErrGRPCPermissionDenied.Error()
	for _, err := range []error{errors.New(refusal), status.Error(codes.FailedPrecondition, refusal)} {
		told := explain("watch", kindOf(err))
		require.ErrorIs(t, told, cluster.ErrDenied, err)
		require.Contains(t, told.Error(), "weir rbac")
	}
	require.True(t, IsCompacted(kindOf(errors.New(rpctypes.ErrGRPCCompacted.Error()))))
	for _, err := range []error{rpctypes.ErrCompacted, context.Canceled, errors.New("torn"), errors.New("code = X desc = no text of etcd's")} {
		require.Equal(t, err, kindOf(err))
	}
}
