package main

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/internal/describe"
	"github.com/weir-lb/weir/internal/top"
)

// TestViewFieldsAreDocumented holds the names of the fields to what the docs promise: programs read them.
func TestViewFieldsAreDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/operations.md")
	require.NoError(t, err)
	rows := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(line, "|"); len(cells) > 3 {
			rows[strings.TrimSpace(cells[1])] = cells[2]
		}
	}
	for row, kinds := range map[string][]any{
		"`weir top -o json`":              {top.Frame{}},
		"its `services`":                  {top.Service{}, top.Instance{}},
		"its `nodes`":                     {top.Node{}},
		"`weir get services -o json`":     {controlcenter.ServiceRow{}},
		"`weir get instances -o json`":    {controlcenter.InstanceRow{}},
		"`weir get nodes -o json`":        {controlcenter.NodeRow{}},
		"`weir describe service -o json`": {describe.Service{}, describe.Node{}},
		"`weir get problems -o json`":     {controlcenter.Trouble{}},
		"`weir events -o json`":           {cluster.Event{}},
	} {
		require.Contains(t, rows, row)
		for _, kind := range kinds {
			for _, name := range fieldNames(reflect.TypeOf(kind)) {
				inherited := row == "`weir describe service -o json`" && strings.Contains(rows["`weir get services -o json`"], "`"+name+"`")
				require.True(t, inherited || strings.Contains(rows[row], "`"+name+"`"), "%s lacks %s", row, name)
			}
		}
	}
}

func fieldNames(t reflect.Type) (names []string) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			names = append(names, fieldNames(f.Type)...)
		case name != "-":
			names = append(names, name)
		}
	}
	return names
}
