package ipt

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/rules"
)

// place is a table of a family.
type place struct {
	family *family
	table  string
}

// size is how large a table of iptables-legacy is; zero: nobody made it.
type size struct{ entries, bytes uint32 }

// getInfo is struct ipt_getinfo of linux/netfilter_ipv4/ip_tables.h, and ip6t_getinfo: a name, which hooks there are, two
// offsets for each of five hooks, the number of entries and their bytes.
type getInfo struct {
	name    [32]byte
	_       [1 + 5 + 5]uint32
	entries uint32
	bytes   uint32
}

// IPT_SO_GET_INFO and IP6T_SO_GET_INFO.
const getInfoOption = 64

// measure asks the kernel for the sizes of our tables. It makes no table that is not there.
func (d *Driver) measure() (map[place]size, error) {
	sizes := map[place]size{}
	for _, f := range families {
		for _, table := range tables {
			made, err := d.made(f, table)
			if err != nil {
				return nil, err
			}
			if !made {
				continue
			}
			if err := d.inside(func() (err error) {
				sizes[place{f, table}], err = f.measure(table)
				return err
			}); err != nil {
				return nil, fmt.Errorf("ask for the size of table %s: %w", table, err)
			}
		}
	}
	return sizes, nil
}

func (f *family) measure(table string) (size, error) {
	domain, level := unix.AF_INET, unix.SOL_IP
	if f == families[1] {
		domain, level = unix.AF_INET6, unix.SOL_IPV6
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return size{}, err
	}
	defer unix.Close(fd)
	var info getInfo
	copy(info.name[:], table)
	length := uint32(unsafe.Sizeof(info))
	_, _, number := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), getInfoOption,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&length)), 0)
	switch {
	case errors.Is(number, unix.EPERM):
		return size{}, fmt.Errorf("%w: %w", rules.ErrPermission, number)
	case number != 0:
		return size{}, number
	}
	return size{info.entries, info.bytes}, nil
}
