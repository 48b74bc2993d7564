package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-lb/weir/internal/runner"
	"github.com/weir-lb/weir/rules"
	"github.com/weir-lb/weir/rules/nft"
)

// longestWait is the longest pause between two attempts to open the driver.
const longestWait = 30 * time.Second

// openDriver opens the driver. An agent that may not change rules waits until it may, not ready and with the reason on its
// page: what a former one wrote goes on working, and a process that ends again and again would tell less. There is neither
// a driver nor an error when it was stopped meanwhile.
func (o *agentOptions) openDriver(ctx context.Context, logger *slog.Logger, metrics prometheus.Gatherer) (driver, string, error) {
	ownership := nft.Ownership(o.tableOwner)
	if o.dryRun {
		ownership = nft.ReadOnly
	}
	d, why, err := o.driver.write(ownership)
	if err == nil || o.once || o.dryRun || !errors.Is(err, rules.ErrPermission) {
		return d, why, err
	}
	logger.Error("rules cannot be written; they stay as they are", "err", err)
	ctx, cancel := context.WithCancel(ctx)
	closed := make(chan error, 1)
	if o.pages.listen == "" {
		closed <- nil
	} else {
		reason := err
		server, err := o.pages.open(metrics)
		if err != nil {
			cancel()
			return nil, "", err
		}
		server.Ready("rules", func() error { return reason })
		go func() { closed <- server.Run(ctx) }()
	}
	for pause := time.Second; err != nil && runner.Sleep(ctx, pause); pause = min(2*pause, longestWait) {
		d, why, err = o.driver.write(ownership)
	}
	stopped := ctx.Err() != nil
	cancel()
	ended := <-closed
	if stopped {
		return nil, "", ended
	}
	return d, why, errors.Join(err, ended)
}
