package nft

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
)

// SCTP goes by the same rules. There is no traffic to try it with where these tests run, so the text has to do: what the
// kernel takes, and how the stock program lists it.
func TestTextOfSCTP(t *testing.T) {
	t.Parallel()
	want := build(rules.Options{}, with(service("s", "10.10.1.1 fd10::1", 80, "192.168.10.100:80", "[fd00:10::100]:80"), func(s *cluster.Service) { s.Ports[0].Protocol = cluster.SCTP }))
	text := Text(want)
	for _, line := range []string{
		"elements = { 10.10.1.1 . sctp . 80 : goto lb-", "elements = { 10.10.1.1 . sctp . 80 . 0 : 192.168.10.100 . 80 }",
		"elements = { fd10::1 . sctp . 80 : goto lb-", "elements = { fd10::1 . sctp . 80 . 0 : fd00:10::100 . 80 }",
	} {
		require.Contains(t, text, line)
	}
	ns := namespace(t)
	nft(t, ns, text)
	require.Equal(t, text, withoutCounters(listing(t, ns)))
}
