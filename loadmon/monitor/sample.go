package monitor

import (
	"context"
	"encoding/json"
	"fmt"
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
	m.merged.add(report.Loads, m.c.Checker.Results())
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
