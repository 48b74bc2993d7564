package controlcenter

import (
	"errors"
	"fmt"
	"slices"
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
	faults  []Fault        // what could not be read; a service with any is never planned
}

// maxDepth bounds the nesting of a file: the parser recurses, and a service needs four levels.
const maxDepth = 32

// ReadFile reads services from YAML or JSON, one or several documents. The error is a *Refusal that names every mistake
// with its line; file is the name to say there. What could be read comes with it.
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
		service := r.service(doc.Body)
		entries = append(entries, Entry{Service: service, File: file, lines: r.lines, faults: r.faults})
		refusal.Faults = append(refusal.Faults, r.faults...)
	}
	if len(refusal.Faults) > 0 { // it will not come to a plan, so say now what else is wrong
		_, err := planAll(offlineLedger(), entries)
		return entries, err
	}
	if len(entries) == 0 {
		refusal.Faults = append(refusal.Faults, Fault{File: file, Problem: cluster.Problem{
			Object: "the file", What: "it holds no service", Fix: "give at least name and ports",
		}})
	}
	return entries, refusal.err()
}

// tooLarge does not say how large: of a large file only the beginning is read.
var tooLarge = fmt.Sprintf("it is larger than %d MiB, the most that is kept as one value of etcd", cluster.MaxFileBytes>>20)

func unreadable(data []byte) string {
	if len(data) > cluster.MaxFileBytes {
		return tooLarge
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

// unexplained drops the faults that only follow from what could not be read.
func (e Entry) unexplained(faults []Fault) []Fault {
	return slices.DeleteFunc(faults, func(f Fault) bool {
		return slices.ContainsFunc(e.faults, func(read Fault) bool { return e.explains(read.Problem, f.Field) })
	})
}

// explains says whether a field seems wrong because of what could not be read: the field itself, a part of it or what it
// is part of; what an address decides with it; or a field that is missing because it is misspelt.
func (e Entry) explains(read cluster.Problem, field string) bool {
	if partOf(read.Field, field) || partOf(field, read.Field) && field != "" {
		return true
	}
	parent, isAddress := strings.CutSuffix(read.Field, ".address")
	if isAddress && (field == parent+".id" || field == parent+".ports") {
		return true
	}
	_, written := e.lines[field]
	return read.What == unknownField && !written && above(read.Field) == above(field)
}

// partOf says whether a field lies within another, or is it.
func partOf(outer, field string) bool {
	rest, ok := strings.CutPrefix(field, outer)
	return ok && (outer == "" || rest == "" || rest[0] == '.' || rest[0] == '[')
}

func above(field string) string { return field[:max(0, strings.LastIndexAny(field, ".["))] }

// line finds the nearest written field: a mistake may be that a field is missing.
func (e Entry) line(field string) int {
	for {
		if line, ok := e.lines[field]; ok || field == "" {
			return line
		}
		field = above(field)
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
