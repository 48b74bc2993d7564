package monitor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/door"
	"github.com/weir-lb/weir/loadmon"
)

// What load monitors are called where they are asked.
const What = "load monitor"

// Client asks nodes' load monitors. It is safe for concurrent use.
type Client struct{ door.Client }

// Loads asks a node for its loads. Problems are loads that could not be read.
func (c *Client) Loads(ctx context.Context, name string, n *cluster.Node) (report loadmon.Report, problems []cluster.Problem, err error) {
	err = c.Ask(ctx, asks(name, n, http.MethodGet, "/v1/load", nil), func(body io.Reader) (err error) {
		report, problems, err = loadmon.ReadReport(body)
		return err
	})
	return report, problems, err
}

// Look has a node connect to addresses of instances, at most MaxLook, and says which answered. What the node does not know
// as an instance's address is not in the answer.
func (c *Client) Look(ctx context.Context, name string, n *cluster.Node, addresses []netip.AddrPort) (map[netip.AddrPort]bool, error) {
	if len(addresses) > MaxLook {
		return nil, fmt.Errorf("look from node %s: %d addresses are more than %d", name, len(addresses), MaxLook)
	}
	body, err := json.Marshal(Look{addresses})
	if err != nil {
		return nil, fmt.Errorf("look from node %s: %w", name, err)
	}
	var seen Seen
	err = c.Ask(ctx, asks(name, n, http.MethodPost, "/v1/look", body), func(body io.Reader) error {
		return json.NewDecoder(io.LimitReader(body, maxAnswer)).Decode(&seen)
	})
	if err != nil {
		return nil, err
	}
	answers := make(map[netip.AddrPort]bool, len(addresses))
	for _, address := range addresses { // nothing else was asked
		if answered, told := seen.Answers[address]; told {
			answers[address] = answered
		}
	}
	return answers, nil
}

// maxAnswer is what is read of the answer to a look.
const maxAnswer = 64 << 10

func asks(name string, n *cluster.Node, method, path string, body []byte) door.Question {
	q := door.Question{Node: name, Record: n, What: What, Method: method, Path: path, Body: body}
	if n != nil {
		q.URL = n.Monitor
	}
	return q
}
