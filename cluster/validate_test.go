package cluster_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

var frame = &cluster.Config{VIPPools: pfx("10.10.0.0/16", "fd00:10::/64"), InstanceNetworks: pfx("192.168.0.0/16", "fd00:1::/64")}

func TestValidateAcceptsASoundService(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, cluster.MaxInstances} {
		require.Empty(t, service(t, "a", n).Validate(frame), "%d instances", n)
	}
	require.Empty(t, service(t, "a", 3).Validate(nil), "without a configuration")
}

func TestValidateNamesEachMistake(t *testing.T) {
	t.Parallel()
	at := func(a string) func(*cluster.Service) {
		return func(s *cluster.Service) {
			s.Instances[1].Addr = netip.MustParseAddr(a)
			s.Instances[1].ID = "x"
		}
	}
	vip := func(a string) func(*cluster.Service) {
		return func(s *cluster.Service) { s.VIPs[0] = netip.MustParseAddr(a) }
	}
	name := func(n string) func(*cluster.Service) { return func(s *cluster.Service) { s.Name = n } }
	tests := []struct {
		name  string
		spoil func(*cluster.Service)
		field string
		says  string
	}{
		{"name empty", name(""), "name", `name ""`},
		{"name in capitals", name("Web"), "name", `"Web"`},
		{"name with a slash", name("a/b"), "name", "want 1 to 63"},
		{"name that leaves the key", name("../x"), "name", "want 1 to 63"},
		{"name with a newline", name("a\nb"), "name", `"a\nb"`},
		{"name with an escape", name("a\x1b[2J"), "name", `\x1b[2J`},
		{"name with a dash at the end", name("a-"), "name", "begin and end"},
		{"name too long", name(strings.Repeat("a", 64)), "name", "1 to 63"},
		{"name far too long is clipped", name(strings.Repeat("a", 9000)), "name", "aaa..."},
		{"balance", func(s *cluster.Service) { s.Balance = "fair" }, "balance", `"fair" is unknown`},
		{"affinity", func(s *cluster.Service) { s.Affinity = "cookie" }, "affinity", `"cookie" is unknown`},
		{"no port", func(s *cluster.Service) { s.Ports = nil }, "ports", "cannot be reached"},
		{"port 0", func(s *cluster.Service) { s.Ports[0].Port = 0 }, "ports[0].port", "port 0"},
		{"protocol", func(s *cluster.Service) { s.Ports[0].Protocol = 1 }, "ports[0].protocol", "protocol 1 is unknown"},
		{"port twice", func(s *cluster.Service) {
			s.Ports = append(s.Ports, cluster.Port{Name: "b", Port: 8080, Protocol: cluster.TCP})
		}, "ports[1]", "8080/tcp is given twice"},
		{"port name twice", func(s *cluster.Service) {
			s.Ports = append(s.Ports, cluster.Port{Port: 8081, Protocol: cluster.TCP})
		}, "ports[1].name", "is given twice"},
		{"port name", func(s *cluster.Service) { s.Ports[0].Name = "a b" }, "ports[0].name", `"a b"`},
		{"locality", func(s *cluster.Service) { s.Locality = "near" }, "locality", `"near" is unknown`},
		{"sources empty", func(s *cluster.Service) { s.Sources = []netip.Prefix{} }, "sources", "the list is empty, so nobody could connect"},
		{"source twice", func(s *cluster.Service) { s.Sources = pfx("10.30.0.0/24", "10.30.0.0/24") }, "sources[1]", "10.30.0.0/24 lies in sources[0] 10.30.0.0/24"},
		{"source in another", func(s *cluster.Service) { s.Sources = pfx("10.30.0.7/32", "10.30.0.0/24") }, "sources[0]", "10.30.0.7/32 lies in sources[1] 10.30.0.0/24, which admits it already"},
		{"source with host bits", func(s *cluster.Service) { s.Sources = pfx("10.30.0.7/24") }, "sources[0]", "10.30.0.7/24 is no network address"},
		{"source mapped", func(s *cluster.Service) { s.Sources = pfx("::ffff:10.30.0.0/120") }, "sources[0]", "IPv4-mapped"},
		{"source missing", func(s *cluster.Service) { s.Sources = []netip.Prefix{{}} }, "sources[0]", "no network is given"},
		{"source of another family", func(s *cluster.Service) { s.Sources = pfx("10.30.0.0/24", "fd00::/64") }, "sources[1]", "no VIP of the service has the address family of fd00::/64"},
		{"257 sources", func(s *cluster.Service) { s.Sources = make([]netip.Prefix, 257) }, "sources", "257 sources are more than 256"},
		{"VIP outside the pool", vip("10.11.0.1"), "vips[0]", "outside the VIP pools [10.10.0.0/16 fd00:10::/64]"},
		{"VIP loopback", vip("127.0.0.1"), "vips[0]", "loopback"},
		{"VIP zero", vip("0.0.0.0"), "vips[0]", "not the address of any host"},
		{"VIP multicast", vip("224.0.0.1"), "vips[0]", "multicast"},
		{"VIP mapped", vip("::ffff:10.10.0.1"), "vips[0]", "IPv4-mapped"},
		{"VIP twice", func(s *cluster.Service) { s.VIPs = append(s.VIPs, s.VIPs[0]) }, "vips[1]", "given twice"},
		{"VIP missing", func(s *cluster.Service) { s.VIPs[0] = netip.Addr{} }, "vips[0]", "no address"},
		{"101 frontends", func(s *cluster.Service) {
			s.VIPs = nil
			for i := range 101 {
				s.VIPs = append(s.VIPs, netip.AddrFrom4([4]byte{10, 10, 0, byte(i + 1)}))
			}
		}, "", "101 frontends"},
		{"1,001 instances", func(s *cluster.Service) { s.Instances = make([]cluster.Instance, 1001) }, "instances", "1001 instances are more than 1000"},
		{"loopback", at("127.0.0.1"), "instances[1].address", "loopback"},
		{"loopback v6", at("::1"), "instances[1].address", "loopback"},
		{"link-local", at("169.254.1.1"), "instances[1].address", "link-local"},
		{"link-local v6", at("fe80::1"), "instances[1].address", "link-local"},
		{"cloud metadata", at("169.254.169.254"), "instances[1].address", "metadata"},
		{"multicast", at("239.1.1.1"), "instances[1].address", "multicast"},
		{"multicast v6", at("ff02::1"), "instances[1].address", "multicast"},
		{"mapped", at("::ffff:192.168.1.1"), "instances[1].address", "IPv4-mapped"},
		{"mapped loopback", at("::ffff:127.0.0.1"), "instances[1].address", "IPv4-mapped"},
		{"zone", at("fd00:1::1%eth0"), "instances[1].address", "zone"},
		{"zero", at("0.0.0.0"), "instances[1].address", "not the address of any host"},
		{"zero net", at("0.1.2.3"), "instances[1].address", "not the address of any host"},
		{"broadcast", at("255.255.255.255"), "instances[1].address", "broadcast"},
		{"class E", at("240.0.0.1"), "instances[1].address", "reserved"},
		{"in the pool", at("10.10.9.9"), "instances[1].address", "VIP pool"},
		{"outside the networks", at("172.16.0.1"), "instances[1].address", "outside the instance networks"},
		{"another family", at("fd00:1::1"), "instances[1].address", "no VIP of the service has the address family"},
		{"address twice", func(s *cluster.Service) {
			s.Instances[1].Addr, s.Instances[1].ID = s.Instances[0].Addr, "x"
		}, "instances[1]", "instance x is given twice"},
		{"id twice", func(s *cluster.Service) { s.Instances[1].ID = "i01" }, "instances[1]", "instance i01 is given twice"},
		{"id with a slash", func(s *cluster.Service) { s.Instances[1].ID = "a/b" }, "instances[1].id", `"a/b"`},
		{"id empty", func(s *cluster.Service) { s.Instances[1].ID = "" }, "instances[1].id", "want 1 to 63"},
		{"weight 1001", func(s *cluster.Service) { s.Instances[1].Weight = 1001 }, "instances[1].weight", "1001 is outside 0..1000"},
		{"weight -1", func(s *cluster.Service) { s.Instances[1].Weight = -1 }, "instances[1].weight", "-1 is outside 0..1000"},
		{"all weights 0", func(s *cluster.Service) {
			for i := range s.Instances {
				s.Instances[i].Weight = 0
			}
		}, "instances", "all weights are 0"},
		{"no number for the port", func(s *cluster.Service) { s.Instances[1].Port = 0 }, "instances[1].ports", "has no number"},
		{"port 0 by name", func(s *cluster.Service) {
			s.Ports[0].Name, s.Instances[1].Ports = "web", map[string]uint16{"web": 0}
		}, "instances[1].ports", `port "web" has no number`},
		{"a port that the service has not", func(s *cluster.Service) {
			s.Instances[1].Ports = map[string]uint16{"tls": 1}
		}, "instances[1].ports", `no port "tls"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := service(t, "a", 3)
			test.spoil(s)
			got := s.Validate(frame)
			require.Len(t, got, 1, "%v", got)
			require.Equal(t, test.field, got[0].Field)
			require.Contains(t, got[0].What, test.says)
			require.NotEmpty(t, got[0].Fix)
			require.True(t, strings.HasPrefix(got[0].Object, "service "))
		})
	}
}

// Without pools and networks a service can still name its own VIP as an instance.
func TestValidateRefusesItsOwnVIP(t *testing.T) {
	t.Parallel()
	s := service(t, "a", 2)
	s.Instances[1].Addr = s.VIPs[0]
	got := s.Validate(nil)
	require.Equal(t, []string{"instances[1].address"}, fields(got))
	require.Contains(t, got[0].What, "is a VIP of this service")
}

func TestValidateReportsEverythingAtOnce(t *testing.T) {
	t.Parallel()
	s := service(t, "A", 3)
	s.Balance, s.Affinity = "x", "y"
	s.VIPs = []netip.Addr{addr("127.0.0.1"), addr("10.11.0.1")}
	s.Ports = []cluster.Port{{Protocol: cluster.TCP}, {Port: 80, Protocol: 3}}
	s.Instances[0].Addr = addr("169.254.169.254")
	s.Instances[1].Weight = 2000
	s.Instances[2].ID = "i02"
	require.Equal(t, []string{
		"name", "balance", "affinity", "ports[0].port", "ports[1].protocol", "ports[1].name", "vips[0]", "vips[1]",
		"instances[0].address", "instances[1].weight", "instances[2]",
	}, fields(s.Validate(frame)))
}

func TestValidateCountsFrontendsOfAVIPThatIsStillToBeChosen(t *testing.T) {
	t.Parallel()
	s := service(t, "a", 0)
	s.VIPs, s.Ports = nil, nil
	for i := range 101 {
		s.Ports = append(s.Ports, cluster.Port{Name: fmt.Sprintf("p%d", i), Port: uint16(i + 1), Protocol: cluster.TCP})
	}
	require.Contains(t, fmt.Sprint(s.Validate(nil)), "101 frontends")
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	nodes := map[string]*cluster.Node{"n1": {Addresses: []netip.Addr{addr("192.168.1.1")}}}
	tests := []struct {
		name   string
		config cluster.Config
		says   []string
	}{
		{"sound", cluster.Config{VIPPools: pfx("10.10.0.0/16"), InstanceNetworks: pfx("192.168.0.0/16")}, nil},
		{"empty", cluster.Config{}, nil},
		{"host bits", cluster.Config{VIPPools: pfx("10.10.0.1/16")}, []string{"vip_pools[0]: 10.10.0.1/16 is not a usable network"}},
		{"loopback", cluster.Config{VIPPools: pfx("127.0.0.0/8")}, []string{"vip_pools[0]: 127.0.0.0/8 is not"}},
		{"everything", cluster.Config{VIPPools: pfx("0.0.0.0/0")}, []string{"vip_pools[0]: 0.0.0.0/0 is not", "of node n1"}},
		{"pools overlap", cluster.Config{VIPPools: pfx("10.0.0.0/8", "10.10.0.0/16")}, []string{"vip_pools[1]: 10.10.0.0/16 overlaps vip_pools[0]"}},
		{"many pools overlap", cluster.Config{VIPPools: pfx("10.0.0.0/8", "10.1.0.0/16", "10.1.0.0/24")}, []string{"vip_pools[1]: 10.1.0.0/16 overlaps vip_pools[0]", "vip_pools[2]: 10.1.0.0/24 overlaps vip_pools[0]"}},
		{"pool in the instance network", cluster.Config{VIPPools: pfx("10.10.0.0/16"), InstanceNetworks: pfx("10.0.0.0/8")}, []string{"overlaps the instance network 10.0.0.0/8"}},
		{"pool holds a node", cluster.Config{VIPPools: pfx("192.168.1.0/24")}, []string{"holds 192.168.1.1 of node n1"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := test.config.Validate(nodes)
			require.Len(t, got, len(test.says), "%v", got)
			for i, says := range test.says {
				require.Contains(t, got[i].Error(), says)
			}
		})
	}
}

func TestParseInstanceRefuses(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "host:80", "10.0.0.1:0", "10.0.0.1:65536", "10.0.0.1:", "10.0.0.256:80", "10.0.0.1:80 ", "fd00::1:80x"} {
		_, err := cluster.ParseInstance(bad)
		require.ErrorContains(t, err, fmt.Sprintf("%q", bad))
	}
}

func TestParseFrontend(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"10.0.0.1:80", "10.0.0.1:53/udp", "[fd00::1]:80", "[fd00::1]:9/sctp"} {
		f, err := cluster.ParseFrontend(good)
		require.NoError(t, err)
		require.Equal(t, good, f.String())
	}
	for _, bad := range []string{"", "10.0.0.1", "10.0.0.1:0", "10.0.0.1:80/icmp", "fd00::1:80x"} {
		_, err := cluster.ParseFrontend(bad)
		require.ErrorContains(t, err, fmt.Sprintf("%q", bad))
	}
}

func TestValidateTakesSources(t *testing.T) {
	t.Parallel()
	for _, sources := range [][]netip.Prefix{nil, pfx("10.30.0.0/24", "10.30.1.0/24", "0.0.0.0/32"), pfx("0.0.0.0/0")} {
		s := service(t, "a", 1)
		s.Sources = sources
		require.Empty(t, s.Validate(nil), "%v", sources)
	}
	s := service(t, "a", 1)
	s.VIPs, s.Sources = nil, pfx("10.30.0.0/24", "fd30::/64")
	require.Empty(t, s.Validate(nil), "the VIPs come from the pools")
}
