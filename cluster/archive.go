package cluster

import (
	"bufio"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"slices"
)

// archiveFormat changes when an older program could misread the file.
const archiveFormat = 1

// The frame of a Snapshot as a file, for a node that has to start while etcd is away: the format, the content, and the
// content's CRC-32 (Castagnoli).
const (
	archiveHead    = `{"format":`
	archiveContent = `,"content":`
	archiveSum     = `,"checksum":`
)

// archiveStart is the content but for the services, which are written and read one by one.
type archiveStart struct {
	Revision int64            `json:"revision"`
	Config   *Config          `json:"config,omitempty"`
	Held     *Held            `json:"held,omitempty"`
	Nodes    map[string]*Node `json:"nodes,omitempty"`

	Observers []string `json:"observers,omitempty"`
}

type archivedService struct {
	Inputs
	CreateRevision int64 `json:"create_revision"`
	ModRevision    int64 `json:"mod_revision"`
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Archiver writes snapshots as files. It remembers how each service was written, so that a file costs what changed since
// the last one. The zero value is ready; it is not safe for concurrent use.
type Archiver struct {
	written map[string]writtenService
}

type writtenService struct {
	inputs *Inputs
	text   []byte
}

// Write writes one snapshot.
func (a *Archiver) Write(w io.Writer, s *Snapshot) error {
	if err := a.remember(s); err != nil {
		return fmt.Errorf("encode snapshot: %w", err)
	}
	head, err := json.Marshal(archiveStart{Revision: s.Revision, Config: s.Config, Held: s.Held, Nodes: maps.Collect(s.Nodes.All()), Observers: s.Observers.Names()})
	if err != nil {
		return fmt.Errorf("encode snapshot: %w", err)
	}
	sum := crc32.New(castagnoli)
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, `%s%d%s`, archiveHead, archiveFormat, archiveContent)
	content := io.MultiWriter(out, sum)
	fmt.Fprintf(content, `%s,"services":[`, head[:len(head)-1])
	separator := []byte("\n")
	for _, name := range slices.Sorted(maps.Keys(a.written)) {
		_, _ = content.Write(separator) // an error of the file stays in out until Flush
		_, _ = content.Write(a.written[name].text)
		separator = []byte(",\n")
	}
	fmt.Fprint(content, "\n]}")
	fmt.Fprintf(out, `%s%d}`, archiveSum, sum.Sum32())
	return out.Flush()
}

// remember encodes the services that are new or changed, and forgets those that are gone.
func (a *Archiver) remember(s *Snapshot) error {
	written := make(map[string]writtenService, s.Services.Len())
	for name, in := range s.Services.All() {
		one := a.written[name]
		if one.inputs != in {
			text, err := json.Marshal(archivedService{*in, in.Service.CreateRevision, in.Service.ModRevision})
			if err != nil {
				return err
			}
			one = writtenService{in, text}
		}
		written[name] = one
	}
	a.written = written
	return nil
}
