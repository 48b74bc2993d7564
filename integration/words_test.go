package integration

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/internal/lab"
)

// TestInstancesAndOperators has launched instances ask for more and say that they fail, their output read from all nodes and
// shipped to log servers, and instances that go wrong in every way told of, while another service does not notice.
func TestInstancesAndOperators(t *testing.T) {
	t.Parallel()
	w := world(t, Options{Nodes: 2})
	w.StartLaunchers()
	w.StartControlCenters(1)
	c := &crowd{World: w, t: t}
	well := w.Frontend(cluster.TCP, false)
	w.Publish(w.Launched("well", well, func(s *cluster.Service) { s.Replicas = new(2) }))
	ids := w.AwaitServing("well", 2, 20*time.Second)
	c.publishBad()
	c.asks()
	c.inVain()
	c.fails()
	c.ships()
	c.elsewhere()
	c.tellsOfBad()
	w.Eventually(10*time.Second, "rules lead to both", func() bool { return len(w.Flood(w.Client, well, 40).ByID) == 2 })
	w.Only(w.Client, well, ids...)
	c.logs()
}

// crowd are services of scripts.
type crowd struct {
	*World
	t *testing.T
}

// scripted is a service of one instance, a shell script. $LAB be-launched is what listens, $WEIR the program, $DIR a directory.
func (c *crowd) scripted(name, script string, change func(*cluster.Service)) *cluster.Service {
	return c.Launched(name, c.Frontend(cluster.TCP, false), func(s *cluster.Service) {
		listens, err := lab.LaunchedCommand()
		require.NoError(c.t, err)
		s.Run.Command = []string{"/bin/sh", "-c", script}
		s.Run.Env = map[string]string{"LAB": listens[0], "WEIR": plain, "DIR": c.Dir}
		s.Run.Grace = cluster.Duration(time.Second)
		if change != nil {
			change(s)
		}
	})
}

// when is a script that does something once a file with its name and the instance's id is there, and listens.
func when(name, do string) string {
	return fmt.Sprintf(`(while ! [ -e $DIR/%[1]s-$INSTANCE_ID ]; do sleep 0.05; done; rm $DIR/%[1]s-$INSTANCE_ID; %[2]s) & echo "life of $INSTANCE_ID"; exec $LAB be-launched`, name, do)
}

func (c *crowd) cue(name, id string) {
	require.NoError(c.t, os.WriteFile(filepath.Join(c.Dir, name+"-"+id), nil, 0o600))
}

// launched is where an instance is, and what is told of it: nodes see it a moment before its launcher tells of it.
func (c *crowd) launched(service string) (node, id string, l cluster.Launched) {
	c.Eventually(20*time.Second, "an instance of "+service+" is launched", func() bool {
		ops, err := c.Store.Operations(c.t.Context())
		require.NoError(c.t, err)
		for at, all := range ops.Launched {
			for of, one := range all {
				if one.Service == service {
					node, id, l = at, of, one
					return true
				}
			}
		}
		return false
	})
	return node, id, l
}

// ready is that of an instance that is ready, other than the process that is named.
func (c *crowd) ready(service string, than int) (node, id string, l cluster.Launched) {
	c.Eventually(20*time.Second, "an instance of "+service+" is ready", func() bool {
		node, id, l = c.launched(service)
		return l.Phase == cluster.PhaseReady && l.PID != than
	})
	return node, id, l
}

func (c *crowd) asks() {
	c.Publish(c.scripted("asks", when("ask", `$WEIR report --scale +2 "the queue is long"`), func(s *cluster.Service) {
		s.Scale = &cluster.Scale{Min: 1, Max: 3}
	}))
	id := c.AwaitServing("asks", 1, 20*time.Second)[0]
	node, _, l := c.ready("asks", 0)
	host := c.Nodes[0]
	if node == "n2" {
		host = c.Nodes[1]
	}
	environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", l.PID))
	require.NoError(c.t, err)
	mine := map[string]string{}
	for variable := range bytes.SplitSeq(environment, []byte{0}) {
		name, value, _ := strings.Cut(string(variable), "=")
		mine[name] = value
	}
	file, err := os.ReadFile(mine["WEIR_ENV_FILE"])
	require.NoError(c.t, err)
	require.Contains(c.t, string(file), "WEIR_TOKEN='"+mine["WEIR_TOKEN"]+"'")

	// Without its token, or by another instance's, nothing is asked.
	say := func(id, token string) int {
		r, err := http.NewRequest("POST", strings.ReplaceAll(mine["WEIR_URL"], mine["INSTANCE_ID"], id)+"/ask", strings.NewReader(`{"replicas": 3}`))
		require.NoError(c.t, err)
		r.Header.Set("Authorization", "Bearer "+token)
		answer, err := insideClient(host.Namespace, 5*time.Second).Do(r)
		require.NoError(c.t, err)
		defer answer.Body.Close()
		return answer.StatusCode
	}
	_, other, _ := c.launched("well")
	require.Equal(c.t, http.StatusForbidden, say(other, mine["WEIR_TOKEN"]))
	require.Equal(c.t, http.StatusForbidden, say(id, "x"))
	require.Equal(c.t, http.StatusUnauthorized, say(id, ""))
	_, _, l = c.launched("asks")
	require.Nil(c.t, l.Ask)

	begin := time.Now()
	c.cue("ask", id)
	c.AwaitServing("asks", 3, 20*time.Second)
	c.t.Logf("asked for two more: served after %s", time.Since(begin).Round(time.Millisecond))
	require.Contains(c.t, c.Weir("events", "asks"), "instance "+id+" asks for 3: the queue is long")
}

// inVain has an instance ask where the number is fixed: it hears why not, until its service scales.
func (c *crowd) inVain() {
	const asks = `(while sleep 0.05; do [ ! -e $DIR/vain-$INSTANCE_ID ] || {
		rm $DIR/vain-$INSTANCE_ID; $WEIR report --scale +1 2>$DIR/vain-new; echo $? >>$DIR/vain-new; mv $DIR/vain-new $DIR/vain-said
	}; done) & exec $LAB be-launched`
	s := c.scripted("vain", asks, func(s *cluster.Service) { s.Replicas = new(1) })
	c.Publish(s)
	id := c.AwaitServing("vain", 1, 20*time.Second)[0]
	ask := func() (said string) {
		file := filepath.Join(c.Dir, "vain-said")
		c.cue("vain", id)
		c.Eventually(20*time.Second, "it has asked", func() bool {
			text, err := os.ReadFile(file)
			said = string(text)
			return err == nil
		})
		require.NoError(c.t, os.Remove(file))
		return said
	}
	said := ask()
	require.Contains(c.t, said, "the launcher refuses it (409 Conflict): instance "+id+": the number of its service's instances is fixed")
	require.Contains(c.t, said, "give service vain, in its file, scale: {min, max} in place of replicas")
	require.True(c.t, strings.HasSuffix(said, "\n1\n"), said)

	scales := *s
	scales.Replicas, scales.Scale = nil, &cluster.Scale{Min: 1, Max: 2}
	c.Publish(&scales)
	c.Eventually(10*time.Second, "its launcher knows that it scales", func() bool { return ask() == "0\n" })
	c.AwaitServing("vain", 2, 20*time.Second)
}

func (c *crowd) fails() {
	// In its next life it waits to be told, so that nobody can miss that it was out of traffic.
	waits := `[ ! -e $DIR/lived-$INSTANCE_ID ] || while ! [ -e $DIR/again-$INSTANCE_ID ]; do sleep 0.05; done; touch $DIR/lived-$INSTANCE_ID; `
	c.Publish(c.scripted("fails", waits+when("fail", `$WEIR report --fail "no database"`), nil))
	id := c.AwaitServing("fails", 1, 20*time.Second)[0]
	_, _, before := c.ready("fails", 0)
	c.cue("fail", id)
	begin := time.Now()
	out := c.Eventually(time.Second+promised, "it is out of traffic", func() bool { return len(c.Serving("fails")) == 0 })
	c.cue("again", id)
	c.AwaitServing("fails", 1, 10*time.Second)
	c.t.Logf("said that it fails: out after %s, back after %s", out.Round(time.Millisecond), time.Since(begin).Round(time.Millisecond))
	_, again, after := c.ready("fails", before.PID)
	require.Equal(c.t, id, again, "started anew, not replaced")
	require.NotEqual(c.t, before.PID, after.PID)
	require.Equal(c.t, "it says that it fails: no database", after.Exit)
	require.Equal(c.t, before.Starts+1, after.Starts)
}

// elsewhere has an instance that nobody here starts serve while it answers.
func (c *crowd) elsewhere() {
	f := c.Frontend(cluster.TCP, false)
	address, there := c.Serve(c.Instances[0], 80, false)
	at, err := cluster.ParseInstance(address)
	require.NoError(c.t, err)
	s := Service("elsewhere", f)
	s.Run = &cluster.Run{Driver: cluster.DriverExternal, Instances: []cluster.Instance{at}}
	c.Publish(s)
	id := c.AwaitServing("elsewhere", 1, 20*time.Second)[0]
	c.Eventually(10*time.Second, "rules lead there", func() bool {
		r, err := lab.Flood(c.t.Context(), c.Client.Namespace, Load(f, 5))
		require.NoError(c.t, err)
		return r.ByID[address] == 5
	})
	there.Close()
	c.Eventually(10*time.Second, "nobody is sent there", func() bool { return len(c.Serving("elsewhere")) == 0 })
	c.Eventually(10*time.Second, "it is told why", func() bool {
		_, _, l := c.launched("elsewhere")
		return l.Problem != nil && strings.Contains(l.Problem.Error(), "connection refused")
	})
	c.Serve(c.Instances[0], 80, false)
	require.Equal(c.t, []string{id}, c.AwaitServing("elsewhere", 1, 10*time.Second))
}

// ships has the output of an instance arrive at a log server over both protocols.
func (c *crowd) ships() {
	at := net.JoinHostPort(c.Client.Addr4.String(), "0")
	stream, err := c.Client.Listen("tcp", at)
	require.NoError(c.t, err)
	defer stream.Close()
	datagrams, err := c.Client.ListenPacket("udp", at)
	require.NoError(c.t, err)
	defer datagrams.Close()
	heard := make(chan string, 100)
	var listening sync.WaitGroup
	listening.Go(func() { readStream(stream, heard) })
	listening.Go(func() {
		for buffer := make([]byte, 4<<10); ; {
			n, _, err := datagrams.ReadFrom(buffer)
			if err != nil {
				return
			}
			heard <- string(buffer[:n])
		}
	})
	for name, address := range map[string]string{"ships-tcp": "tcp://" + stream.Addr().String(), "ships-udp": "udp://" + datagrams.LocalAddr().String()} {
		c.Publish(c.scripted(name, `echo "to $LOG_ADDR"; echo oh >&2; exec $LAB be-launched`, func(s *cluster.Service) { s.Run.Log = address }))
	}
	host, err := os.Hostname()
	require.NoError(c.t, err)
	var got []string
	c.Eventually(20*time.Second, "both log servers hear", func() bool {
		for len(heard) > 0 {
			got = append(got, <-heard)
		}
		all := strings.Join(got, "\n")
		return strings.Contains(all, "- - to tcp://") && strings.Contains(all, "- - to udp://") && strings.Count(all, "- - oh") == 2
	})
	for _, message := range got {
		require.Regexp(c.t, `^<1[14]>1 \S+ `+host+` ships-(tcp|udp) ships-\S+ - - `, message)
	}
	for _, name := range []string{"ships-tcp", "ships-udp"} {
		c.Withdraw(name)
	}
	stream.Close()
	datagrams.Close()
	listening.Wait()
}

// readStream hears messages behind their lengths, as RFC 6587 has them.
func readStream(l net.Listener, heard chan<- string) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		for r := bufio.NewReader(conn); ; {
			var size int
			if _, err := fmt.Fscanf(r, "%d ", &size); err != nil {
				break
			}
			text := make([]byte, size)
			if _, err := io.ReadFull(r, text); err != nil {
				break
			}
			heard <- string(text)
		}
		conn.Close()
	}
}

func (c *crowd) publishBad() {
	c.Publish(
		c.scripted("missing", "", func(s *cluster.Service) { s.Run.Command = []string{"/usr/bin/no-such-program"} }),
		c.scripted("ends", "echo out of luck >&2; exit 3", nil),
		c.scripted("never", "echo still loading; exec sleep 1000", nil),
		c.scripted("forks", "$LAB be-launched & echo forked; sleep 0.3; exit 0", nil),
		c.scripted("floods", `head -c 30000000 /dev/zero | tr '\0' x | fold -w 1000; echo; echo flooded; exec $LAB be-launched`, nil),
		c.scripted("huge", "exit 1", func(s *cluster.Service) { s.Run.Resources.CPU = 1000 }),
	)
}

// tellsOfBad requires a clear word, with the last output, of each service that goes wrong.
func (c *crowd) tellsOfBad() {
	for service, want := range map[string]struct{ what, output string }{
		"missing": {"is not there", ""},
		"ends":    {"its last end: exit code 3", "out of luck"},
		"never":   {"it runs, and is not ready after 10s", "still loading"},
		"forks":   {"its first process ended and left others, which were ended too", "forked"},
		"huge":    {"none of 2 nodes has room", ""},
	} {
		var all []controlcenter.Trouble
		found := func() bool {
			require.NoError(c.t, json.Unmarshal([]byte(c.Weir("get", "problems", service, "-o", "json")), &all))
			for _, t := range all {
				if strings.Contains(t.What, want.what) && strings.Contains(strings.Join(t.Output, "\n"), want.output) {
					return true
				}
			}
			return false
		}
		begin := time.Now()
		for !found() {
			require.Less(c.t, time.Since(begin), 20*time.Second, "%s: %+v", service, all)
			time.Sleep(50 * time.Millisecond) // each look is a process
		}
		require.Contains(c.t, c.Weir("describe", "service", service), want.what)
		require.Contains(c.t, c.Weir("describe", "service", service), want.output)
	}
	c.AwaitServing("floods", 1, 20*time.Second)
	for _, name := range []string{"n1", "n2"} {
		var kept int64
		files, err := filepath.Glob(filepath.Join(c.Dir, name+"-launcher", "floods-*", "output.log*"))
		require.NoError(c.t, err)
		for _, file := range files {
			if info, err := os.Stat(file); err == nil {
				kept += info.Size()
			}
		}
		require.LessOrEqual(c.t, kept, int64(10<<20)+100<<10)
	}
}

// logs reads what instances wrote, from where an operator stands.
func (c *crowd) logs() {
	logs := func(args ...string) (out, talk string, code int) {
		var o, e bytes.Buffer
		cmd := exec.Command(plain, append([]string{"logs", "--etcd", c.Endpoint(), "--insecure-etcd"}, args...)...)
		cmd.Stdout, cmd.Stderr = &o, &e
		err := c.Client.Run(cmd)
		require.True(c.t, err == nil || cmd.ProcessState != nil, "%v", err)
		return o.String(), e.String(), cmd.ProcessState.ExitCode()
	}
	out, talk, code := logs("asks")
	require.Zero(c.t, code, talk)
	for _, id := range c.AwaitServing("asks", 3, 10*time.Second) {
		require.Contains(c.t, out, id+" | life of "+id)
	}
	out, _, _ = logs("fails")
	require.Equal(c.t, 2, strings.Count(out, "life of "), "also of its life before: %s", out)
	require.Contains(c.t, out, "asked to end")
}
