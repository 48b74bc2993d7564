package sample

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/plain"
)

// ID names an instance in the whole cluster.
type ID struct{ Service, Instance string }

func (i ID) compare(j ID) int {
	return slices.Compare([]string{i.Service, i.Instance}, []string{j.Service, j.Instance})
}

// ask is where an instance tells its own load.
type ask struct {
	ID
	address netip.AddrPort
	path    string // by HTTP; "": an agent
}

// asksOf are those of one service's instances on a node. Only addresses that the configuration allows are ever asked.
func asksOf(in *cluster.Inputs, node string) (out []ask) {
	source := in.Service.Load
	if source == nil || node == "" {
		return nil
	}
	for _, s := range cluster.Resolve(in).Instances {
		i := s.Instance
		if s.Node != node || s.Status == cluster.Refused || s.Status == cluster.Duplicate || in.Config.RefuseInstance(i.Addr, i.Node) != "" {
			continue
		}
		a := ask{ID{in.Service.Name, i.ID}, netip.AddrPortFrom(i.Addr, source.Agent), source.HTTP}
		if source.Agent == 0 {
			port, found := in.Service.LoadPort()
			if !found {
				continue
			}
			if a.address, found = i.Target(port); !found {
				continue
			}
		}
		out = append(out, a)
	}
	return out
}

// Limits of one answer.
const (
	answerTime   = time.Second
	answerBody   = 4 << 10
	answerHeader = 16 << 10
	answerLine   = 1 << 10
)

var errSilent = fmt.Errorf("no answer within %s", answerTime)

// put asks the instance once.
func (a ask) put(ctx context.Context) (answer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, answerTime, errSilent)
	defer cancel()
	var given answer
	var err error
	if a.path != "" {
		given.utilization, err = a.byHTTP(ctx)
	} else {
		given.spoken, err = a.byAgent(ctx)
	}
	var op *net.OpError
	switch {
	case err != nil && ctx.Err() != nil:
		err = context.Cause(ctx)
	case errors.Is(err, os.ErrDeadlineExceeded): // the dialer noticed first
		err = errSilent
	case errors.As(err, &op): // without the addresses: our port is another one each time, and the same trouble shall read the same
		err = fmt.Errorf("%s: %w", op.Op, op.Err)
	}
	return given, err
}

// byHTTP speaks HTTP on a connection of its own: one that stays would count as a client. There is no proxy, no redirect and
// no second connection, and all that is read is bounded.
func (a ask) byHTTP(ctx context.Context) (*float64, error) {
	path, err := url.ParseRequestURI(a.path)
	if err != nil {
		return nil, err
	}
	target := url.URL{Scheme: "http", Host: a.address.String(), Path: path.Path, RawPath: path.RawPath, RawQuery: path.RawQuery}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, err
	}
	request.Close = true
	request.Header.Set("User-Agent", "weir")
	request.Header.Set("Accept", "application/json")
	conn, err := a.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := request.Write(conn); err != nil {
		return nil, err
	}
	bounded := &io.LimitedReader{R: conn, N: answerHeader + answerBody}
	response, err := http.ReadResponse(bufio.NewReader(bounded), request)
	switch {
	case err != nil && bounded.N == 0:
		return nil, fmt.Errorf("its header is larger than %d bytes", answerHeader)
	case err != nil:
		return nil, err
	}
	defer response.Body.Close()
	switch code := response.StatusCode; {
	case code >= 300 && code < 400:
		return nil, fmt.Errorf("it answers %d: redirects are not followed", code)
	case code != http.StatusOK:
		return nil, fmt.Errorf("it answers %d", code)
	}
	return readUtilization(response.Body)
}

// dial connects until the context ends, and ends what waits on the connection then.
func (a ask) dial(ctx context.Context) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", a.address.String())
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // its caller cancels when it is done
	return conn, nil
}

func readUtilization(body io.Reader) (*float64, error) {
	text, err := io.ReadAll(io.LimitReader(body, answerBody+1))
	if err != nil {
		return nil, err
	}
	if len(text) > answerBody {
		return nil, fmt.Errorf("its answer is larger than %d bytes", answerBody)
	}
	var said struct {
		Utilization *float64 `json:"utilization"`
	}
	if err := json.Unmarshal(text, &said); err != nil {
		return nil, errors.New("its answer cannot be read: " + plain.JSON(text, err))
	}
	switch u := said.Utilization; {
	case u == nil:
		return nil, errors.New(`its answer has no "utilization"`)
	case !(*u >= 0 && *u <= 1): // also NaN
		return nil, fmt.Errorf("its utilization %g is outside 0..1", *u)
	}
	return said.Utilization, nil
}

func (a ask) byAgent(ctx context.Context) (spoken, error) {
	conn, err := a.dial(ctx)
	if err != nil {
		return spoken{}, err
	}
	defer conn.Close()
	var text []byte
	for buffer := make([]byte, answerLine); len(text) < answerLine && !strings.ContainsAny(string(text), "\r\n"); {
		n, err := conn.Read(buffer[:answerLine-len(text)])
		text = append(text, buffer[:n]...)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return spoken{}, err
		}
	}
	return parseAgent(string(text))
}
