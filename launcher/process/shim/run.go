package shim

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/plain"
	"github.com/weir-lb/weir/launcher"
	"github.com/weir-lb/weir/launcher/process/cgroup"
)

// The descriptors that a launcher hands to its shim.
const (
	lockFD   = 3 // the locked lock file, held until the end
	answerFD = 4 // takes Started or an error
)

// Started is what a shim answers when its instance runs; anything else is why it does not.
const Started = "started\n"

const (
	killTime   = 10 * time.Second // for the kernel to end a tree; only a hung disk takes so long
	shipTime   = 2 * time.Second  // for the log server to take the last lines
	recordPace = 5 * time.Second  // between two records of lost output
)

// shim is one running shim.
type shim struct {
	dir    string
	order  Order
	slots  *slots
	record Record
	output *output
	ship   *shipper
	tree   *tree
}

// Run is the whole life of a shim: it starts the instance that the order in the directory speaks of, and returns when
// nothing of it is left. The launcher has handed over its descriptors.
func Run(dir string) error { return run(dir, start) }

// starter starts an instance; what it complains of does not keep the instance from running.
type starter func(o Order, g cgroup.Group, complain func(error)) (child, error)

func run(dir string, start starter) error {
	answer := os.NewFile(answerFD, "answer")
	keepDescriptors()
	signals := make(chan os.Signal, 64)
	signal.Notify(signals, unix.SIGCHLD, unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	s, streams, err := begin(dir, start)
	if err != nil {
		_, werr := answer.WriteString(plain.Line(err.Error(), 1000))
		return errors.Join(err, werr, answer.Close())
	}
	_, _ = answer.WriteString(Started) // the launcher may be gone; that changes nothing
	answer.Close()
	var copies sync.WaitGroup
	copies.Go(func() { s.output.copy("stdout", streams.stdout) })
	copies.Go(func() { s.output.copy("stderr", streams.stderr) })
	if s.ship != nil {
		go s.ship.run() // close waits for it
	}
	debug.FreeOSMemory() // what the start needed
	wanted := s.attend(signals)
	return s.finish(wanted, &copies, streams)
}

// keepDescriptors lets the instance have none of this process's descriptors: neither its own, nor what the launcher was
// started with by somebody who did not think of it.
func keepDescriptors() {
	if unix.CloseRange(lockFD, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC) == nil {
		return
	}
	names, _ := os.ReadDir("/proc/self/fd") // before Linux 5.11
	for _, name := range names {
		if fd, err := strconv.Atoi(name.Name()); err == nil && fd >= lockFD {
			unix.CloseOnExec(fd)
		}
	}
}

// begin does all that can fail before there is an instance.
func begin(dir string, start starter) (*shim, child, error) {
	order, err := ReadOrder(dir)
	if err != nil {
		return nil, child{}, err
	}
	if err := os.Chdir("/"); err != nil {
		return nil, child{}, err
	}
	unix.Umask(0o022)
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, child{}, fmt.Errorf("become the parent of orphans: %w", err)
	}
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("-900"), 0) // without the right to it: as likely as others
	slots, before, err := openSlots(dir)
	if err != nil {
		return nil, child{}, err
	}
	ship, err := newShipper(order.Spec)
	if err != nil {
		return nil, child{}, err
	}
	self, err := Find(os.Getpid())
	if err != nil {
		return nil, child{}, err
	}
	s := &shim{dir: dir, order: order, slots: slots, ship: ship, output: newOutput(dir, order.Output, ship)}
	s.record = Record{Service: order.Spec.Service, Boot: BootID(), Shim: self, Exits: before.Exits, Starts: before.Starts + 1}
	streams, err := s.start(before, start)
	return s, streams, err
}

// start makes the group and the instance; after an error nothing of either is left, and the record is that of before.
func (s *shim) start(before Record, start starter) (child, error) {
	if s.order.Parent != "" {
		mounts, err := cgroup.Find()
		if err != nil {
			return child{}, err
		}
		r := s.order.Spec.Resources
		group, complaints := mounts.Make(s.order.Parent, s.order.Spec.ID, cgroup.Limits{CPU: r.CPU, Memory: r.Memory})
		s.record.Group = group
		for _, c := range complaints {
			s.complain("resources", c, "give the launcher a control group that it may limit, or leave the limits out")
		}
	} else if s.order.Spec.Resources != (launcher.Resources{}) {
		s.complain("resources", "are not limited: this launcher makes no control groups", "let it, or leave the limits out")
	}
	if err := s.slots.save(s.starting(before)); err != nil {
		return child{}, errors.Join(fmt.Errorf("keep a record: %w", err), s.record.Group.Remove())
	}
	streams, err := start(s.order, s.record.Group, func(err error) { s.complain("resources", err.Error(), "") })
	if err != nil {
		return child{}, errors.Join(err, s.record.Group.Remove(), s.slots.save(before))
	}
	s.record.Instance, s.record.State, s.record.Started = streams.Process, launcher.Running, time.Now().UTC()
	s.tree = &tree{first: streams.PID, group: s.record.Group}
	if err := s.slots.save(s.record); err != nil {
		s.tree.kill(killTime)
		return child{}, errors.Join(fmt.Errorf("keep a record: %w", err), s.record.Group.Remove(), s.slots.save(before))
	}
	return streams, nil
}

// starting is what is known before there is an instance. It is written down first: were this process killed as soon as it has
// forked, nobody would look for what it leaves.
func (s *shim) starting(before Record) Record {
	r := before
	r.Service, r.Boot, r.Shim, r.Group = s.record.Service, s.record.Boot, s.record.Shim, s.record.Group
	r.Instance, r.State = Process{}, Starting
	return r
}

func (s *shim) complain(field, what, fix string) {
	s.record.Problems = append(s.record.Problems, cluster.Problem{
		Object: "instance " + s.order.Spec.ID, Field: field, What: plain.Line(what, 300), Fix: fix,
	})
}

// attend waits for the end of the first process and then of all, and says whether it was asked for.
func (s *shim) attend(signals <-chan os.Signal) (wanted bool) {
	var deadline <-chan time.Time // from the first wish to stop on; a later one may only shorten it
	var ends time.Time
	var recorded <-chan time.Time
	for {
		select {
		case sig := <-signals:
			if sig == unix.SIGTERM {
				if at := time.Now().Add(readGrace(s.dir, s.order.Spec)); !wanted || at.Before(ends) {
					ends, deadline = at, time.After(time.Until(at))
				}
				if !wanted {
					wanted = true
					s.record.State = launcher.Stopping
					s.save()
				}
				s.tree.ask()
			}
		case <-s.output.dirty:
			if recorded == nil {
				recorded = time.After(recordPace)
			}
		case <-recorded:
			recorded = nil
			s.save()
		case <-deadline:
			s.tree.kill(killTime)
		}
		ran := s.tree.ended == nil
		left := s.tree.reap() || len(s.tree.group.Members()) > 0
		switch {
		case s.tree.ended == nil:
		case !left || !wanted:
			return wanted // without a wish to stop, the others have no use
		case ran:
			s.tree.ask() // the first one is gone; the others have the rest of the time
		case deadlineOver(ends):
			return wanted
		}
	}
}

func deadlineOver(t time.Time) bool { return !t.IsZero() && time.Now().After(t) }

// finish ends what is left, waits for its output and writes down how it ended.
func (s *shim) finish(wanted bool, copies *sync.WaitGroup, streams child) error {
	out := s.record.Group.OOMKills() > 0
	others := !s.tree.empty()
	gone := s.tree.kill(killTime)
	if others && !wanted {
		s.complain("command", "its first process ended and left others, which were ended too", "keep the first process in the foreground")
	}
	if !gone {
		s.complain("", "it cannot be ended", "look for a hung disk or network file system")
	}
	drain(copies, streams)
	s.ship.close(shipTime)
	exit := launcher.Exit{At: time.Now().UTC(), Code: -1, OutOfMemory: out, Wanted: wanted}
	if w := s.tree.ended; w != nil && w.Signaled() {
		exit.Signal = w.Signal().String()
	} else if w != nil {
		exit.Code = w.ExitStatus()
	}
	s.record.State, s.record.Instance = launcher.Exited, Process{}
	s.record.Exits = append(s.record.Exits, exit)
	s.record.Exits = s.record.Exits[max(0, len(s.record.Exits)-keptExits):]
	s.record.Output = s.output.lastLines()
	err := s.record.Group.Remove()
	if err == nil {
		s.record.Group = cgroup.Group{}
	}
	return errors.Join(err, s.save())
}

// save writes the record with what is known of lost output.
func (s *shim) save() error {
	r := s.record
	r.Problems = append([]cluster.Problem(nil), r.Problems...)
	add := func(what, fix string) {
		r.Problems = append(r.Problems, cluster.Problem{Object: "instance " + s.order.Spec.ID, Field: "output", What: what, Fix: fix})
	}
	if lost, why := s.output.loss(); lost > 0 {
		add(fmt.Sprintf("%d bytes were not kept: %v", lost, plain.Line(why.Error(), 200)), "make room on the disk of the launcher's directory")
	}
	if n := s.ship.losses(); n > 0 {
		add(fmt.Sprintf("%d lines were not sent to %s, which does not take them fast enough", n, s.order.Spec.LogAddress), "look after the log server")
	}
	return s.slots.save(r)
}
