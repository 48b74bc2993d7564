package check

import (
	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/plain"
)

// line is what is kept of what an instance said.
func line(text string) string { return plain.Words(text, cluster.MaxOutput) }
