package main

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"
)

type logOptions struct {
	format string
	level  slog.Level
}

func (o *logOptions) addTo(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.format, "log-format", "text", "text or json")
	cmd.Flags().TextVar(&o.level, "log-level", slog.LevelInfo, "debug, info, warn or error")
}

func (o *logOptions) logger(w io.Writer) (*slog.Logger, error) {
	options := &slog.HandlerOptions{Level: o.level}
	switch o.format {
	case "text":
		return slog.New(slog.NewTextHandler(w, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return nil, &usageError{fmt.Errorf("--log-format %q: use text or json", o.format)}
}
