package embedded

import (
	"context"
	"log/slog"
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// quiet hands etcd's errors to our logger and drops the rest: a healthy etcd writes hundreds of lines an hour. While it
// closes it calls the closing of each socket an error, so from then on nothing is handed over.
func quiet(l *slog.Logger, closing *atomic.Bool) *zap.Logger {
	if l == nil {
		return zap.NewNop()
	}
	return zap.New(bridge{l.With("component", "etcd"), closing})
}

type bridge struct {
	log     *slog.Logger
	closing *atomic.Bool
}

func (b bridge) Enabled(level zapcore.Level) bool {
	return level >= zapcore.ErrorLevel && !b.closing.Load()
}

func (b bridge) With(fields []zapcore.Field) zapcore.Core {
	return bridge{b.log.With(attributes(fields)...), b.closing}
}

func (b bridge) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if b.Enabled(e.Level) {
		return checked.AddCore(e, b)
	}
	return checked
}

func (b bridge) Write(e zapcore.Entry, fields []zapcore.Field) error {
	b.log.Log(context.Background(), slog.LevelError, e.Message, attributes(fields)...)
	return nil
}

func (b bridge) Sync() error { return nil }

func attributes(fields []zapcore.Field) []any {
	encoder := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(encoder)
	}
	var out []any
	for key, value := range encoder.Fields {
		out = append(out, slog.Any(key, value))
	}
	return out
}
