package etcd

import foreign "github.com/weir-lb/weir/internal/plain" // plain is something else here

const maxPrinted = 300

// printable is foreign text as errors and Problems quote it.
func printable(s string) string { return foreign.Line(s, maxPrinted) }
