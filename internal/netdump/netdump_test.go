package netdump

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// links asks for the links of this namespace, as everybody may.
func links(each func([]byte) error) error {
	return Each(unix.NETLINK_ROUTE, unix.RTM_GETLINK, make([]byte, unix.SizeofIfInfomsg), each)
}

func TestEach(t *testing.T) {
	t.Parallel()
	n := 0
	require.NoError(t, links(func(m []byte) error {
		require.GreaterOrEqual(t, len(m), unix.SizeofIfInfomsg)
		n++
		return nil
	}))
	require.Positive(t, n, "there is lo")
	enough := errors.New("enough")
	require.ErrorIs(t, links(func([]byte) error { return enough }), enough)
	err := Each(unix.NETLINK_SOCK_DIAG, 20, make([]byte, 56), func([]byte) error { return nil }) // sockets of no family
	require.ErrorIs(t, err, unix.ENOENT)
	require.Error(t, Each(1<<10, 0, nil, nil), "there is no such subsystem")
}

func message(kind uint16, body ...byte) []byte {
	m := order.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
	m = order.AppendUint16(m, kind)
	m = append(m, make([]byte, 10)...)
	return append(m, body...)
}

func padded(m []byte) []byte { return append(m, make([]byte, (4-len(m)%4)%4)...) }

func TestTake(t *testing.T) {
	t.Parallel()
	var got []string
	each := func(m []byte) error { got = append(got, string(m)); return nil }
	done, err := take(append(padded(message(unix.NLMSG_NOOP)), append(padded(message(20, 'a', 'b', 'c')), message(20, 'd')...)...), each)
	require.NoError(t, err)
	require.False(t, done)
	require.Equal(t, []string{"abc", "d"}, got)
	for name, test := range map[string]struct {
		piece []byte
		want  error
	}{
		"done":            {message(unix.NLMSG_DONE, 0, 0, 0, 0), nil},
		"done, short":     {message(unix.NLMSG_DONE), nil},
		"refused":         {message(unix.NLMSG_ERROR, order.AppendUint32(nil, uint32(0xffffffff))...), unix.EPERM},
		"failed later":    {message(unix.NLMSG_DONE, order.AppendUint32(nil, uint32(0xffffffff))...), unix.EPERM},
		"no header":       {[]byte{1, 2, 3}, errMalformed},
		"too short":       {make([]byte, 16), errMalformed},
		"longer than all": {message(20, 'a')[:16], errMalformed},
	} {
		done, err := take(test.piece, each)
		require.True(t, done, name)
		require.ErrorIs(t, err, test.want, name)
	}
}
