// Package chaos holds the faults that Weir promises to survive, each as a row: what is done, what must follow, and the
// mutation of the program that turns the row red. The rows are tests of this package:
//
//	go test ./integration/chaos -run 'Chaos/^A1$'    one row, in all its variants
//	make chaos                                      all rows, and docs/reliability.md from what they print
//	make chaos-mutants                              each row against its mutation
//
// A row named on the command line runs; without a name only the quick ones do, which are part of `make test`. Each variant of a
// row prints one line of JSON, a Line.
package chaos
