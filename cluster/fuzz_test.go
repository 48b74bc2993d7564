package cluster

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func FuzzParseFrontend(f *testing.F) {
	for _, s := range []string{"10.0.0.1:80", "[fd00::1]:53/udp", "10.0.0.1:80/sctp", "[::ffff:1.2.3.4]:1", "[fe80::1%eth0]:1", "010.0.0.1:80", "1.2.3.4:0", "1.2.3.4:65536", "/", "[::1]:1/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseFrontend(s)
		if err != nil {
			return
		}
		require.NotZero(t, got.Port)
		again, err := ParseFrontend(got.String())
		require.NoError(t, err)
		require.Equal(t, got, again)
	})
}

func FuzzParseInstance(f *testing.F) {
	for _, s := range []string{"10.0.0.1:80", "10.0.0.1", "[fd00::1]:80", "fd00::1", "::ffff:1.2.3.4", "fe80::1%eth0", "", ":80", "10.0.0.1:http"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseInstance(s)
		if err != nil {
			return
		}
		again, err := ParseInstance(got.Address())
		require.NoError(t, err)
		require.Equal(t, got, again)
	})
}

// sealed is content as a snapshot file whose checksum is right, as somebody would write it who knows how.
func sealed(content []byte) []byte {
	var compact bytes.Buffer
	if json.Compact(&compact, content) == nil {
		content = compact.Bytes()
	}
	return fmt.Appendf(nil, `{"format":%d,"content":%s,"checksum":%d}`, archiveFormat, content, crc32.Checksum(content, castagnoli))
}

// FuzzFromArchive reads foreign bytes as a snapshot file, bare and with a checksum that is right. What it takes can be
// resolved, and holds only services that etcd could have held.
func FuzzFromArchive(f *testing.F) {
	f.Add([]byte(`{"revision":7,"services":[{"service":{"name":"a","vips":["10.0.0.1"],"ports":[{"port":80,"protocol":"tcp"}],"instances":[{"address":"1.2.3.4:5"}]},"create_revision":1,"mod_revision":2}]}`))
	f.Add([]byte(`{"config":{"vip_pools":["10.0.0.0/8"],"node_addresses":{"n":[null]}},"nodes":{"n":null,"m":{"addresses":["::"]}}}`))
	f.Add([]byte(`{"services":[{},{"service":null},{"service":{}},null]}`))
	f.Add([]byte(`{"services":[{"service":{"name":"a","ports":[{"port":80}]},"registered":[{"address":"1.1.1.1:1"}],"admin":{"x":{"weight":null}},"weights":{"share":{"x":-1}},"health":{"x":{}},"hosts":{"x":{"node":"n","down":{}}}}]}`))
	f.Add([]byte(`null`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, content []byte) {
		for _, file := range [][]byte{content, sealed(content)} {
			s, err := FromArchive(file)
			if err != nil {
				continue
			}
			for name, in := range s.Services.All() {
				require.Equal(t, name, in.Service.Name)
				require.Nil(t, in.Service.Unusable())
				Resolve(in)
			}
			for _, p := range s.Problems {
				require.NotEmpty(t, p.Error())
			}
			var text bytes.Buffer
			require.NoError(t, new(Archiver).Write(&text, s))
			again, err := FromArchive(text.Bytes())
			require.NoError(t, err)
			require.Equal(t, s.Services.Len(), again.Services.Len())
		}
	})
}

func TestTooManyNetworks(t *testing.T) {
	t.Parallel()
	c := &Config{VIPPools: make([]netip.Prefix, maxNetworks+1)}
	require.Equal(t, "1001 networks are more than 1000", c.Validate(nil)[0].What)
	c = &Config{InstanceNetworks: make([]netip.Prefix, maxNetworks+1)}
	require.Equal(t, "instance_networks", c.Validate(nil)[0].Field)
}
