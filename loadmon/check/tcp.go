package check

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// dial connects to an instance. The connection ends with the context; end is to be called in any case.
func dial(ctx context.Context, to netip.AddrPort) (conn *net.TCPConn, end func(), err error) {
	d := net.Dialer{KeepAlive: -1}
	conn, err = d.DialTCP(ctx, "tcp", netip.AddrPort{}, to)
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	return conn, func() { stop(); abort(conn) }, nil
}

// abort closes with a reset: a thousand checks a second that end politely would leave tens of thousands of waiting sockets
// and tracked connections behind.
func abort(conn *net.TCPConn) {
	_ = conn.SetLinger(0)
	_ = conn.Close()
}

// probeTCP is well when the connection is accepted.
func probeTCP(ctx context.Context, t task) Outcome {
	if t.own {
		switch done, err := atOnce(t.address); {
		case done && err == nil:
			return Outcome{Kind: Good}
		case done:
			return failed(ctx, err, time.Duration(t.check.Timeout))
		}
	}
	if err := accepted(ctx, t.address); err != nil {
		return failed(ctx, err, time.Duration(t.check.Timeout))
	}
	return Outcome{Kind: Good}
}
