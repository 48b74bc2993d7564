package monitor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/loadmon"
)

// try samples, and lets those go on who wait for it.
func (m *Monitor) try(ctx context.Context) error {
	err := m.sample(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.tried)
	m.tried = make(chan struct{})
	return err
}

// asked is the report for who asks now. It is of this moment, unless the last sample is younger than half an interval:
// whoever asked once in an interval would else decide from figures as old as that. nil: there is none yet.
func (m *Monitor) asked(ctx context.Context) []byte {
	m.mu.Lock()
	report, age, tried := m.report, time.Since(m.sampled), m.tried
	m.mu.Unlock()
	if report == nil || age < m.c.Interval/2 {
		return report
	}
	m.sampler.Kick()
	ctx, cancel := context.WithTimeout(ctx, m.c.Interval/10) // then an older one is better than none
	defer cancel()
	select {
	case <-tried:
	case <-ctx.Done():
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.report
}

// sample takes the figures, and keeps them for whoever asks.
func (m *Monitor) sample(ctx context.Context) error {
	snapshot := m.newest()
	ctx, cancel := context.WithTimeout(ctx, m.c.Deadline)
	defer cancel()
	begin := time.Now()
	locals := m.locals.of(snapshot)
	report, err := m.c.Sampler.Sample(ctx, locals, begin)
	m.c.Metrics.sample.Observe(time.Since(begin).Seconds())
	if err != nil {
		return err
	}
	m.merged.add(report.Loads, locals, m.c.Checker.Results(), m.c.Asker.Asked())
	m.c.Asker.Add(report.Loads, begin)
	text, err := json.Marshal(report)
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	m.c.See(report)
	m.c.Metrics.instances.Set(float64(len(report.Loads)))
	m.mu.Lock()
	m.report, m.sampled, m.samples, m.without = text, begin, m.samples+1, unmeasured(snapshot, locals, report.Loads)
	m.mu.Unlock()
	return nil
}

// unmeasured counts the instances whose weights should follow their load, and that have no figures.
func unmeasured(s *cluster.Snapshot, locals []loadmon.Local, loads []loadmon.Load) (n int) {
	measured := make(map[[2]string]bool, len(loads))
	for _, l := range loads {
		measured[[2]string{l.Service, l.Instance}] = true
	}
	for _, l := range locals {
		in, _ := s.Services.Get(l.Service)
		if in != nil && in.Service.Balance == cluster.BalanceAdaptive && !measured[[2]string{l.Service, l.Instance}] {
			n++
		}
	}
	return n
}

// settled is how many samples it takes until an instance that runs has figures.
const settled = 3

// Unmeasured is how many instances of adaptive services there are no figures of.
func (m *Monitor) Unmeasured() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.samples < settled {
		return 0
	}
	return m.without
}

// WriteReport writes the newest report, as control centers get it.
func (m *Monitor) WriteReport(w io.Writer) error {
	m.mu.Lock()
	report := m.report
	m.mu.Unlock()
	if report == nil {
		return errors.New("nothing has been measured yet")
	}
	_, err := w.Write(report)
	return err
}
