package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"github.com/weir-lb/weir/integration/chaos"
)

//go:embed page.md.tmpl
var pageText string

// kinds of rows, by the letter that their ids begin with.
var kinds = []struct{ Letter, Name string }{
	{"A", "The agent process"},
	{"B", "The kernel's rules and their neighbours"},
	{"C", "etcd"},
	{"D", "The control center"},
	{"E", "Bad input"},
}

// page is docs/reliability.md.
func page(rows []chaos.Row, lines []chaos.Line) ([]byte, error) {
	t, err := template.New("page").Parse(pageText)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = t.Execute(&out, map[string]string{"Promises": promises(rows, lines), "Tables": tables(rows, lines), "Summary": summary(rows, lines)})
	return out.Bytes(), err
}

func summary(rows []chaos.Row, lines []chaos.Line) string {
	good, red := 0, []string{}
	for _, l := range lines {
		if l.OK {
			good++
			continue
		}
		red = append(red, l.Row+" "+l.Variant().String())
	}
	variants := 0
	for _, row := range rows {
		variants += len(row.Variants)
	}
	text := fmt.Sprintf("%d rows in %d variants: %d were run, %d of these reach their target.", len(rows), variants, len(lines), good)
	if len(red) > 0 {
		text += " Not reached: " + strings.Join(red, ", ") + "."
	}
	return text
}

// promises ties each to the rows that hold it.
func promises(rows []chaos.Row, lines []chaos.Line) string {
	var out strings.Builder
	for i, promise := range chaos.Promises {
		var held []string
		for _, row := range rows {
			if slices.Contains(row.Promises, i+1) {
				held = append(held, row.ID+mark(row, lines))
			}
		}
		by := strings.Join(held, ", ")
		if by == "" {
			by = "not by a row of this suite"
		}
		fmt.Fprintf(&out, "%d. %s Rows: %s.\n", i+1, promise, by)
	}
	return strings.TrimSuffix(out.String(), "\n")
}

// mark says where a row fails its promise, or was not run.
func mark(row chaos.Row, lines []chaos.Line) string {
	ran := false
	for _, l := range lines {
		if l.Row == row.ID && !l.OK {
			return " (red)"
		}
		ran = ran || l.Row == row.ID
	}
	if !ran {
		return " (not run)"
	}
	return ""
}

func tables(rows []chaos.Row, lines []chaos.Line) string {
	var out strings.Builder
	for _, kind := range kinds {
		fmt.Fprintf(&out, "## %s: %s\n\n| row | fault | expected | target | variant | figures | result | when, kernel |\n|---|---|---|---|---|---|---|---|\n", kind.Letter, kind.Name)
		for _, row := range rows {
			if strings.HasPrefix(row.ID, kind.Letter) {
				out.WriteString(rowText(row, lines))
			}
		}
		out.WriteString("\n")
	}
	return strings.TrimSuffix(out.String(), "\n\n")
}

// rowText is a row of the table for each variant that was run. What is the same in all of them is said once.
func rowText(row chaos.Row, lines []chaos.Line) string {
	head := []string{row.ID, row.Fault, row.Expected, row.Target}
	var out strings.Builder
	for _, v := range row.Variants {
		cells := append(slices.Clone(head), v.String(), "", "not run", "")
		for _, l := range lines {
			if l.Row == row.ID && l.Variant() == v {
				cells = append(slices.Clone(head), v.String(), figures(l), result(l), l.At.Format("2006-01-02")+", "+l.Kernel)
			}
		}
		for i, cell := range cells {
			cells[i] = strings.ReplaceAll(cell, "|", "\\|")
		}
		fmt.Fprintf(&out, "| %s |\n", strings.Join(cells, " | "))
		head = []string{"", "", "", ""}
	}
	return out.String()
}

func result(l chaos.Line) string {
	if l.OK {
		return "ok"
	}
	return "**red**: " + l.Why
}

func figures(l chaos.Line) string {
	var out []string
	if l.Conns > 0 {
		out = append(out, fmt.Sprintf("%d of %d connections failed, %d of 50 live broken", l.ConnFailed, l.Conns, l.LiveBroken))
	}
	for _, t := range []struct {
		name  string
		value float64
	}{{"detected", l.Detect}, {"repaired", l.Repair}} {
		if t.value > 0 {
			out = append(out, t.name+" "+number(t.value)+" ms")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.Figures)) {
		out = append(out, name+" "+number(l.Figures[name]))
	}
	return strings.Join(out, "; ")
}

func number(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }
