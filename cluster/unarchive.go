package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
)

// FromArchive reads what an Archiver wrote. The file is not trusted: its frame and checksum are looked at before anything
// in it is, and what it holds is taken up one service at a time, so that a file costs a few times its own size and no
// more. What etcd could not have said is left out, with a Problem.
func FromArchive(file []byte) (*Snapshot, error) {
	content, err := unframe(file)
	if err != nil {
		return nil, err
	}
	u := &unarchiver{in: json.NewDecoder(bytes.NewReader(content)), snapshot: &Snapshot{Ready: true}}
	if err := u.all(); err != nil {
		return nil, fmt.Errorf("read snapshot file: %w", err)
	}
	return u.snapshot, nil
}

// unframe is the content of a file whose checksum is right.
func unframe(file []byte) ([]byte, error) {
	damaged := errors.New("snapshot file is cut short, or is none")
	rest, ok := bytes.CutPrefix(file, []byte(archiveHead))
	number, rest, found := bytes.Cut(rest, []byte(archiveContent))
	format, err := strconv.Atoi(string(number))
	if !ok || !found || err != nil {
		return nil, damaged
	}
	if format != archiveFormat {
		return nil, fmt.Errorf("snapshot file has format %d, this program reads %d", format, archiveFormat)
	}
	at := bytes.LastIndex(rest, []byte(archiveSum))
	if at < 0 {
		return nil, damaged
	}
	content, tail := rest[:at], rest[at+len(archiveSum):]
	number, ok = bytes.CutSuffix(bytes.TrimRight(tail, "\n"), []byte("}"))
	want, err := strconv.ParseUint(string(number), 10, 32)
	if !ok || err != nil {
		return nil, damaged
	}
	if sum := crc32.Checksum(content, castagnoli); sum != uint32(want) {
		return nil, fmt.Errorf("snapshot file is damaged: its checksum is %08x, not %08x", sum, want)
	}
	return content, nil
}

// unarchiver reads the content.
type unarchiver struct {
	in        *json.Decoder
	snapshot  *Snapshot
	observers []string
}

func (u *unarchiver) all() error {
	if err := u.expect('{'); err != nil {
		return err
	}
	services, nodes := u.snapshot.Services.Edit(), u.snapshot.Nodes.Edit()
	for u.in.More() {
		field, err := u.in.Token()
		if err != nil {
			return err
		}
		switch field {
		case "revision":
			err = u.in.Decode(&u.snapshot.Revision)
		case "config":
			err = u.value(&u.snapshot.Config)
		case "held":
			err = u.value(&u.snapshot.Held)
		case "nodes":
			err = u.nodes(func(name string, node *Node) { nodes.Set(name, node) })
		case "observers":
			err = u.value(&u.observers)
		case "services":
			err = u.services(func(in *Inputs) { services.Set(in.Service.Name, in) })
		default:
			err = u.in.Decode(new(json.RawMessage)) // of a newer version, which changes the format where that matters
		}
		if err != nil {
			return err
		}
	}
	if err := u.expect('}'); err != nil {
		return err
	}
	if u.snapshot.Revision < 0 {
		return fmt.Errorf("revision %d cannot be", u.snapshot.Revision)
	}
	u.snapshot.Services, u.snapshot.Nodes = services.Map(), nodes.Map()
	unknown := func(name string) bool { _, known := u.snapshot.Nodes.Get(name); return !known }
	if names := slices.DeleteFunc(u.observers, unknown); len(names) > 0 {
		u.snapshot.Observers = NewObservers(names)
	}
	slices.SortFunc(u.snapshot.Problems, Problem.Compare)
	return u.frame()
}

// frame puts the configuration around the services. Without a sound one nothing is known of where VIPs and instances may
// be, so that none can be believed.
func (u *unarchiver) frame() error {
	if c := u.snapshot.Config; c != nil {
		if problems := c.Validate(nil); len(problems) > 0 {
			return problems[0]
		}
	}
	for _, in := range u.snapshot.Services.All() {
		in.Config = u.snapshot.Config
	}
	return nil
}

// maxArchived bounds how many services, and nodes, are believed: small ones take more memory than room in the file.
const maxArchived = 200_000

func (u *unarchiver) nodes(take func(string, *Node)) error {
	if err := u.expect('{'); err != nil {
		return err
	}
	for n := 0; u.in.More(); n++ {
		name, err := u.in.Token()
		if err != nil {
			return err
		}
		var node *Node
		if err := u.value(&node); err != nil {
			return err
		}
		if n >= maxArchived {
			return fmt.Errorf("more than %d nodes cannot be", maxArchived)
		}
		if text, _ := name.(string); node != nil && ValidName(text) == "" {
			take(text, node)
		}
	}
	return u.expect('}')
}

func (u *unarchiver) services(take func(*Inputs)) error {
	if err := u.expect('['); err != nil {
		return err
	}
	for n := 0; u.in.More(); n++ {
		var archived archivedService
		if err := u.value(&archived); err != nil {
			return err
		}
		if n >= maxArchived {
			return fmt.Errorf("more than %d services cannot be", maxArchived)
		}
		in := &archived.Inputs
		if in.Service == nil {
			continue
		}
		in.Service.CreateRevision, in.Service.ModRevision = archived.CreateRevision, archived.ModRevision
		if problem := in.unusable(); problem != nil {
			u.snapshot.Problems = append(u.snapshot.Problems, *problem)
			continue
		}
		take(in)
	}
	return u.expect(']')
}

// maxValue bounds one service with all that speaks of it, which is several values of etcd.
const maxValue = 8 * MaxFileBytes

func (u *unarchiver) value(into any) error {
	var text json.RawMessage
	if err := u.in.Decode(&text); err != nil {
		return err
	}
	if len(text) > maxValue {
		return fmt.Errorf("a value of %d bytes is more than etcd could hold", len(text))
	}
	return json.Unmarshal(text, into)
}

func (u *unarchiver) expect(delimiter json.Delim) error {
	token, err := u.in.Token()
	if err == nil && token != delimiter {
		err = fmt.Errorf("%v is wanted, not %s", delimiter, clip(fmt.Sprint(token)))
	}
	return err
}
