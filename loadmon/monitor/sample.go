package monitor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// sample takes the figures, and keeps them for whoever asks.
func (m *Monitor) sample(ctx context.Context) error {
	snapshot := m.newest()
	ctx, cancel := context.WithTimeout(ctx, m.c.Deadline)
	defer cancel()
	begin := time.Now()
	report, err := m.c.Sampler.Sample(ctx, m.locals.of(snapshot), begin)
	m.c.Metrics.sample.Observe(time.Since(begin).Seconds())
	if err != nil {
		return err
	}
	m.merged.add(report.Loads, m.c.Checker.Results(), m.c.Asker.Asked())
	m.c.Asker.Add(report.Loads, begin)
	text, err := json.Marshal(report)
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	m.c.See(report)
	m.c.Metrics.instances.Set(float64(len(report.Loads)))
	m.mu.Lock()
	m.report = text
	m.mu.Unlock()
	return nil
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
