package controlcenter

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/weir-lb/weir/cluster"
)

// Entry is a service to be published, and where each of its fields was written.
type Entry struct {
	Service *cluster.Service
	File    string         // "" when it was not read from a file
	lines   map[string]int // by field as Problem.Field names it; "" is the whole service
}

// maxDepth bounds the nesting of a file: the parser recurses, and a service needs four levels.
const maxDepth = 32

// ReadFile reads services from YAML or JSON, one or several documents. The error is a *Refusal that names every mistake
// with its line; file is the name to say there.
func ReadFile(file string, data []byte) ([]Entry, error) {
	if why := unreadable(data); why != "" {
		return nil, &Refusal{[]Fault{{File: file, Problem: cluster.Problem{
			Object: "the file", What: why, Fix: "split it, one service a file",
		}}}}
	}
	parsed, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, &Refusal{[]Fault{syntaxFault(file, err)}}
	}
	var entries []Entry
	refusal := &Refusal{}
	for _, doc := range parsed.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.NullType {
			continue // an empty document, as a leading "---" makes it
		}
		r := &reader{file: file, object: "service", lines: map[string]int{}}
		entries = append(entries, Entry{Service: r.service(doc.Body), File: file, lines: r.lines})
		refusal.Faults = append(refusal.Faults, r.faults...)
	}
	if len(entries) == 0 {
		refusal.Faults = append(refusal.Faults, Fault{File: file, Problem: cluster.Problem{
			Object: "the file", What: "it holds no service", Fix: "give at least name and ports",
		}})
	}
	return entries, refusal.err()
}

func unreadable(data []byte) string {
	if len(data) > cluster.MaxFileBytes {
		return fmt.Sprintf("%d bytes are more than the %d that etcd takes as one value", len(data), cluster.MaxFileBytes)
	}
	if nested(string(data)) > maxDepth {
		return fmt.Sprintf("it nests deeper than %d levels", maxDepth)
	}
	return ""
}

// nested is an upper bound of how deep a file nests, without parsing it. Flow collections nest by brackets, across
// lines; within a line, block sequences, tags and the like nest by single characters with space after them.
func nested(text string) (deepest int) {
	depth := 0
	for line := range strings.Lines(text) {
		marks := 0
		for _, word := range strings.Fields(line) {
			if !strings.ContainsAny(word[:1], "-?:!&*|>%@") {
				break
			}
			marks++
		}
		deepest = max(deepest, marks)
		for _, c := range line {
			switch c {
			case '[', '{':
				depth++
			case ']', '}':
				depth = max(0, depth-1)
			}
			deepest = max(deepest, depth)
		}
	}
	return deepest
}

func syntaxFault(file string, err error) Fault {
	f := Fault{File: file, Problem: cluster.Problem{Object: "the file", What: err.Error(), Fix: "correct the YAML or JSON"}}
	var at yaml.Error
	if errors.As(err, &at) {
		f.What = at.GetMessage()
		if at.GetToken() != nil {
			f.Line = at.GetToken().Position.Line
		}
	}
	return f
}

// locate adds file and line to the faults of a service.
func (e Entry) locate(faults []Fault) {
	for i := range faults {
		faults[i].File, faults[i].Line = e.File, e.line(faults[i].Field)
	}
}

// line finds the nearest written field: a mistake may be that a field is missing.
func (e Entry) line(field string) int {
	for {
		if line, ok := e.lines[field]; ok || field == "" {
			return line
		}
		field = field[:max(0, strings.LastIndexAny(field, ".["))]
	}
}

func place(file string, line int) string {
	switch {
	case file == "":
		return ""
	case line == 0:
		return file + ": "
	}
	return fmt.Sprintf("%s:%d: ", file, line)
}
