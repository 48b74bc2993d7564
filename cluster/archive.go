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

// archive is a Snapshot as a file, for a node that has to start while etcd is away.
type archive struct {
	Format   int             `json:"format"`
	Content  json.RawMessage `json:"content"`
	Checksum uint32          `json:"checksum"` // CRC-32 (Castagnoli) of Content
}

type archiveContent struct {
	Revision int64             `json:"revision"`
	Config   *Config           `json:"config,omitempty"`
	Held     *Held             `json:"held,omitempty"`
	Nodes    map[string]*Node  `json:"nodes,omitempty"`
	Services []archivedService `json:"services,omitempty"` // written one by one
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
	head, err := json.Marshal(archiveContent{Revision: s.Revision, Config: s.Config, Held: s.Held, Nodes: maps.Collect(s.Nodes.All())})
	if err != nil {
		return fmt.Errorf("encode snapshot: %w", err)
	}
	sum := crc32.New(castagnoli)
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, `{"format":%d,"content":`, archiveFormat)
	content := io.MultiWriter(out, sum)
	fmt.Fprintf(content, `%s,"services":[`, head[:len(head)-1])
	separator := []byte("\n")
	for _, name := range slices.Sorted(maps.Keys(a.written)) {
		_, _ = content.Write(separator) // an error of the file stays in out until Flush
		_, _ = content.Write(a.written[name].text)
		separator = []byte(",\n")
	}
	fmt.Fprint(content, "\n]}")
	fmt.Fprintf(out, `,"checksum":%d}`, sum.Sum32())
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

// FromArchive reads what an Archiver wrote. The file is not trusted: a service that would not be accepted at publish is left
// out, with a Problem.
func FromArchive(file []byte) (*Snapshot, error) {
	var a archive
	if err := json.Unmarshal(file, &a); err != nil {
		return nil, fmt.Errorf("read snapshot file: %w", err)
	}
	if a.Format != archiveFormat {
		return nil, fmt.Errorf("snapshot file has format %d, this program reads %d", a.Format, archiveFormat)
	}
	if sum := crc32.Checksum(a.Content, castagnoli); sum != a.Checksum {
		return nil, fmt.Errorf("snapshot file is damaged: its checksum is %08x, not %08x", sum, a.Checksum)
	}
	var content archiveContent
	if err := json.Unmarshal(a.Content, &content); err != nil {
		return nil, fmt.Errorf("read snapshot file: %w", err)
	}
	snapshot := &Snapshot{Revision: content.Revision, Ready: true, Config: content.Config, Held: content.Held}
	services, nodes := snapshot.Services.Edit(), snapshot.Nodes.Edit()
	for _, archived := range content.Services {
		in := archived.Inputs
		if in.Service == nil {
			continue
		}
		in.Config = content.Config
		in.Service.CreateRevision, in.Service.ModRevision = archived.CreateRevision, archived.ModRevision
		if problems := in.Service.Validate(nil); len(problems) > 0 {
			snapshot.Problems = append(snapshot.Problems, problems...)
			continue
		}
		services.Set(in.Service.Name, &in)
	}
	for name, node := range content.Nodes {
		nodes.Set(name, node)
	}
	snapshot.Services, snapshot.Nodes = services.Map(), nodes.Map()
	return snapshot, nil
}
