package main

import (
	"slices"
	"strings"

	"github.com/weir-lb/weir/cluster"
)

func sortedJoin(texts []string) string {
	slices.Sort(texts)
	return strings.Join(texts, ",")
}

func errorsOf(problems []cluster.Problem) string {
	texts := make([]string, len(problems))
	for i, p := range problems {
		texts[i] = p.Error()
	}
	return strings.Join(texts, "; ")
}

// orEmpty makes an empty list [] in JSON: a script that counts must not meet null.
func orEmpty[T any](rows []T) []T {
	if rows == nil {
		return []T{}
	}
	return rows
}
