package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/internal/hostile"
)

// TestNothingIsObeyed has hostile words wherever somebody may write one, and reads all commands, logs and pages: nothing
// that a terminal obeys comes out, and JSON stays JSON.
func TestNothingIsObeyed(t *testing.T) {
	t.Parallel()
	c := newClinic(t)
	s := c.store(t, etcd.Config{})
	words := hostile.Words()
	fillWith(t, s, words)
	for _, line := range []string{
		"get services", "get services -o wide", "get services -o json", "get services -o yaml", "get services -o name",
		"get instances", "get instances -o wide --sample=0", "get instances -o json --sample=0", "get instances -o yaml --sample=0", "get instances -o name",
		"get nodes", "get nodes -o wide", "get nodes -o json", "get nodes -o yaml", "guard", "guard -o json", "events", "events -o wide", "events -o json", "events -o yaml",
		"describe service a", "describe service a -o json", "describe service a -o yaml", "top --once", "top --once -o json", "doctor -v", "doctor -o json", "doctor -o yaml",
		"controlcenter config", "controlcenter plan a --vip 10.10.1.1:80 --instance 192.0.2.1:80", "__complete get services ", "__complete get nodes ", "__complete get instances ",
	} {
		r := c.run(t, strings.Split(line, " ")...)
		require.Equal(t, 0, r.code, "%s: %s", line, r.err)
		requireHarmless(t, r.out+r.err)
		if strings.Contains(line, "-o json") {
			require.True(t, json.Valid([]byte(r.out)), line)
		}
	}
	for i, word := range words {
		if i%40 > 0 || strings.ContainsRune(word, 0) || strings.HasPrefix(word, "-") {
			continue
		}
		for _, line := range [][]string{{"get", "services", word}, {"get", word}, {"controlcenter", "drain", "a", word}, {"explain", word, word}, {"describe", "service", word}, {"events", word}, {"controlcenter", "publish", "b", "--vip", word}} {
			r := c.run(t, line...)
			require.NotEqual(t, 0, r.code)
			requireHarmless(t, r.out+r.err)
		}
	}
}

// fillWith writes the words in labels, versions, reasons, reports, values that cannot be read, and keys.
func fillWith(t *testing.T, s *etcd.Store, words []string) {
	c, err := s.Client()
	require.NoError(t, err)
	labels, problems := map[string]string{}, []cluster.Problem{}
	put := func(key string, value any) {
		text, err := json.Marshal(value)
		require.NoError(t, err)
		_, err = c.Put(t.Context(), s.Prefix()+key, string(text))
		require.NoError(t, err)
	}
	for i, word := range words {
		if i%2 == 0 && len(word) < 500 {
			labels[fmt.Sprint("l", i)] = word
		}
		if i%50 == 0 {
			problems = append(problems, cluster.Problem{Object: word, Field: word, What: word, Fix: word})
		}
		if i%7 == 0 {
			put(fmt.Sprintf("net/nodes/n%d", i), cluster.Node{Version: word, Monitor: word, Labels: map[string]string{word: word}})
			put(fmt.Sprintf("net/admin/a/192.0.2.%d:80", 1+i%9), cluster.Admin{Drain: i%9 > 0, Reason: word, Since: time.Now()})
			put(fmt.Sprintf("net/health/n%d", i), cluster.NodeHealth{"a": {"192.0.2.2:80": {Verdict: cluster.Dead, Reason: word, Output: word}}})
			put(fmt.Sprintf("ops/events/a/%d", i), cluster.Event{What: word, Reason: word, By: word, In: cluster.Figures{word: {word: 1}}})
			_, _ = c.Put(t.Context(), s.Prefix()+"net/services/"+word, word)
			_, err = c.Put(t.Context(), s.Prefix()+fmt.Sprintf("net/weights/w%d", i), word)
			require.NoError(t, err)
		}
	}
	service := map[string]any{"name": "a", "vips": []string{"10.10.1.1"}, "ports": []any{map[string]any{"port": 80}}}
	var instances []any
	for i := range 9 {
		instances = append(instances, map[string]any{"address": fmt.Sprintf("192.0.2.%d:80", i+1), "labels": labels})
	}
	service["instances"] = instances[:1]
	put("net/services/a", service)
	put("net/ready", struct{}{})
	put("ops/applied/n7", cluster.Applied{Revision: 1, Problems: problems, Held: &cluster.Held{Revision: 1, Reason: words[3]}, Refused: words[:50], At: time.Now()})
	_, err = c.Put(t.Context(), s.Prefix()+"ops/alive/n7", "{}", clientv3.WithPrevKV())
	require.NoError(t, err)
}

// TestAgentsLogIsObeyedByNobody runs an agent in a namespace on the same words.
func TestAgentsLogIsObeyedByNobody(t *testing.T) {
	t.Parallel()
	b := newSickbay(t)
	s, err := etcd.Open(t.Context(), etcd.Config{Endpoints: []string{b.endpoint}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	fillWith(t, s, hostile.Words())
	for _, format := range []string{"text", "json"} {
		r := b.weir(t, "agent", "--once", "--node=n1", "--log-level=debug", "--log-format="+format, "--state-dir="+b.state)
		require.Equal(t, 0, r.code, r.err)
		require.Contains(t, r.err, "net/services/")
		requireHarmless(t, r.out+r.err)
	}
	require.Equal(t, 0, b.weir(t, "rules", "clean").code)
}

// TestPagesAreObeyedByNobody shows a page of all words.
func TestPagesAreObeyedByNobody(t *testing.T) {
	t.Parallel()
	var page strings.Builder
	words := strings.Join(hostile.Words(), "\n")
	require.NoError(t, safePage(func(w io.Writer) error {
		_, err := io.WriteString(w, words)
		return err
	})(&page, nil))
	require.Contains(t, page.String(), `\u001b[2J`)
	requireHarmless(t, page.String())
}
