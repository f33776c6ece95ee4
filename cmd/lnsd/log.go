package main

import (
	"io"
	"log/slog"
)

// levels are the words of log.level.
var levels = map[string]slog.Level{
	"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
}

func (b *builder) log(c *logSection) {
	if _, ok := levels[c.Level]; !ok {
		b.bad("$.log.level", "%q is not one of debug, info, warn, error", c.Level)
	}
	if c.Format != "text" && c.Format != "json" {
		b.bad("$.log.format", "%q is neither text nor json", c.Format)
	}
}

// newLogger makes the logger that a checked section asks for.
func newLogger(c *logSection, w io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{Level: levels[c.Level]}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
