package cluster

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
)

// archiveFormat changes when an older program could misread the file.
const archiveFormat = 1

// archive is a Snapshot as a file, for a node that has to start while etcd is away.
type archive struct {
	Format   int             `json:"format"`
	Checksum uint32          `json:"checksum"` // CRC-32 (Castagnoli) of Content
	Content  json.RawMessage `json:"content"`
}

type archiveContent struct {
	Revision int64             `json:"revision"`
	Config   *Config           `json:"config,omitempty"`
	Nodes    map[string]*Node  `json:"nodes,omitempty"`
	Services []archivedService `json:"services"`
}

type archivedService struct {
	Inputs
	CreateRevision int64 `json:"create_revision"`
	ModRevision    int64 `json:"mod_revision"`
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Archive writes the snapshot as a file.
func (s *Snapshot) Archive() ([]byte, error) {
	content := archiveContent{Revision: s.Revision, Config: s.Config, Nodes: maps.Collect(s.Nodes.All())}
	for _, in := range s.Services.All() {
		content.Services = append(content.Services, archivedService{*in, in.Service.CreateRevision, in.Service.ModRevision})
	}
	slices.SortFunc(content.Services, func(a, b archivedService) int {
		return claim{0, a.Service.Name}.compare(claim{0, b.Service.Name})
	})
	body, err := json.Marshal(content)
	if err != nil {
		return nil, fmt.Errorf("encode snapshot: %w", err)
	}
	return json.Marshal(archive{archiveFormat, crc32.Checksum(body, castagnoli), body})
}

// FromArchive reads what Archive wrote. The file is not trusted: a service that would not be accepted at publish is left
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
	snapshot := &Snapshot{Revision: content.Revision, Ready: true, Config: content.Config}
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
