package doctor

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Sysctls are kernel settings by their path below /proc/sys, as in "net/ipv4/ip_forward". One that the kernel does not
// have is missing.
type Sysctls map[string]string

const settings = "/proc/sys/"

// single are the settings that there is one of.
var single = []string{
	"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding",
	"net/netfilter/nf_conntrack_count", "net/netfilter/nf_conntrack_max",
	"net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables",
}

// perLink are the settings that every interface has.
var perLink = []string{"route_localnet", "rp_filter", "send_redirects", "forwarding"}

// readSysctls reads those of the calling thread's network namespace.
func readSysctls() Sysctls {
	out := Sysctls{}
	keys := single
	for _, name := range perLink {
		found, _ := filepath.Glob(settings + "net/ipv4/conf/*/" + name)
		for _, path := range found {
			keys = append(keys, strings.TrimPrefix(path, settings))
		}
	}
	for _, key := range keys {
		if value, err := fs.ReadFile(os.DirFS(settings), key); err == nil {
			out[key] = strings.TrimSpace(string(value))
		}
	}
	return out
}

// number is a setting as a number; -1 where the kernel has none.
func (s Sysctls) number(key string) int {
	n, err := strconv.Atoi(s[key])
	if err != nil {
		return -1
	}
	return n
}

// link is the setting of one interface; "all" and "default" are among them.
func (s Sysctls) link(link, name string) int { return s.number("net/ipv4/conf/" + link + "/" + name) }

// set is the command that changes a setting until the next boot. Slashes keep an interface named eth0.100 apart.
func set(key string, value int) string {
	if !strings.Contains(key, ".") {
		key = strings.ReplaceAll(key, "/", ".")
	}
	return fmt.Sprintf("sysctl -w %s=%d", key, value)
}

func setLink(link, name string, value int) string {
	return set("net/ipv4/conf/"+link+"/"+name, value)
}

// lasting says how a setting outlives a reboot.
const lasting = "; and in a file of /etc/sysctl.d/, so that it lasts"
