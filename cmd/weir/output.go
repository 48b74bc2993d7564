package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"
)

var formats = []string{"table", "wide", "json", "yaml", "name"}

// outputFlag is -o.
type outputFlag struct {
	format  string
	allowed []string
}

func (o *outputFlag) register(flags *pflag.FlagSet, def string, allowed ...string) {
	o.format, o.allowed = def, allowed
	flags.VarP(o, "output", "o", "one of "+strings.Join(allowed, "|"))
}

// String, Set and Type make it a flag that refuses what it does not know.
func (o *outputFlag) String() string { return o.format }

func (o *outputFlag) Set(s string) error {
	if !slices.Contains(o.allowed, s) {
		return fmt.Errorf("use one of %s", strings.Join(o.allowed, ", "))
	}
	o.format = s
	return nil
}

func (o *outputFlag) Type() string { return "format" }

// listing is a list that can be printed in every format.
type listing struct {
	columns []string
	narrow  int // how many of the columns the plain table has
	rows    [][]string
	names   []string
	data    any
}

func (l listing) print(w io.Writer, format string) error {
	switch format {
	case "json", "yaml":
		return printData(w, format, l.data)
	case "name":
		for _, name := range l.names {
			fmt.Fprintln(w, cell(name))
		}
		return nil
	}
	n := l.narrow
	if format == "wide" {
		n = len(l.columns)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{l.columns}, l.rows...) {
		cells := make([]string, n)
		for i := range n {
			cells[i] = cell(row[i])
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	return t.Flush()
}

// cell keeps one value one cell: a line break in it would look like a row of its own.
func cell(s string) string {
	if s == "" {
		return "-"
	}
	return strings.NewReplacer("\n", `\n`, "\t", `\t`).Replace(s)
}

func printData(w io.Writer, format string, data any) error {
	text, err := encoded(format, data)
	if err == nil {
		_, err = fmt.Fprint(w, text)
	}
	return err
}

// encoded is JSON or YAML that ends with a line break.
func encoded(format string, data any) (string, error) {
	text, err := json.MarshalIndent(data, "", "  ")
	if err == nil && format == "yaml" {
		text, err = yaml.JSONToYAML(spelledOut(text))
	}
	if err != nil {
		return "", fmt.Errorf("encode the output: %w", err)
	}
	return strings.TrimRight(string(text), "\n") + "\n", nil
}

// ago is a duration as people say it, with one unit; "" when it is not known.
func ago(d time.Duration) string {
	switch {
	case d <= 0:
		return ""
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// spelledOut escapes the control characters that JSON may hold as they are and YAML may not. Those beyond 16 bits may stand
// in both, and YAML does not know the two halves that JSON escapes them by.
func spelledOut(text []byte) (out []byte) {
	for _, r := range string(text) {
		if r > 0xFFFF || harmless(r) {
			out = utf8.AppendRune(out, r)
		} else {
			out = append(out, escape(r)...)
		}
	}
	return out
}
